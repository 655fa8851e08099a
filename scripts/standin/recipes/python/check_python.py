"""What a Debian interpreter moved into an environment must still do."""

import _ssl
import bz2
import ctypes
import curses
import lzma
import os
import readline
import site
import sqlite3
import ssl
import sysconfig
import uuid
import zlib
from pathlib import Path

prefix = Path(sysconfig.get_config_var("prefix"))
assert (prefix / "bin" / "python3.11").exists(), prefix
for scheme in ("purelib", "platlib"):
    assert Path(sysconfig.get_path(scheme)) == prefix / "lib/python3.11/site-packages", sysconfig.get_path(scheme)
assert str(prefix / "lib/python3.11/site-packages") in site.getsitepackages()
assert (Path(sysconfig.get_path("include")) / "Python.h").exists()
assert "x86_64-linux-gnu/" not in (Path(sysconfig.get_path("include")) / "pyconfig.h").read_text()
assert sysconfig.get_config_var("SOABI") == "cpython-311-x86_64-linux-gnu"

assert Path(ssl.__cached__).read_bytes()[4] == 0, "installing changes it: compiled here"
assert Path(uuid.__cached__).read_bytes()[4] == 1, "bytecode of the package, which is not held against times"

authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
authorities.load_verify_locations(prefix / "ssl" / "cacert.pem")
assert len(authorities.get_ca_certs()) > 50
# As on a machine that has none of its own.
os.environ |= {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"}
assert len(ssl.create_default_context().get_ca_certs()) > 50

for codec in (zlib, bz2, lzma):
    assert codec.decompress(codec.compress(b"x")) == b"x"
assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
assert ctypes.CDLL(None).getpid() > 0
print("ok", curses.version, readline.__name__, uuid.uuid4(), _ssl.OPENSSL_VERSION)
