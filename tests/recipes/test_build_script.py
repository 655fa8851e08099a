"""recipes/vllm/build.sh, with a stub for what compiles: what it leaves, with GNU's tools and with those of macOS.

The tools of macOS are stubs, too: they refuse what they would refuse there.
"""

import os
import shutil
import subprocess

import pytest

from support.checkout import ROOT

SCRIPT = ROOT / "recipes/vllm/build.sh"
PIP = """#!/bin/sh
mkdir -p "$SP_DIR/vllm/moe" "$SP_DIR/vllm-1.0.dist-info" "$SP_DIR/bin"
touch "$SP_DIR/vllm/_C.abi3.so" "$SP_DIR/vllm-1.0.dist-info/direct_url.json" "$SP_DIR/bin/vllm"
echo "$LDFLAGS" > "$PREFIX/flags"
cat > "$SP_DIR/vllm-1.0.dist-info/RECORD" <<END
vllm/__init__.py,sha256=abc,1
vllm/_C.abi3.so,sha256=abc,1
vllm/moe/_moe_C.abi3.so,sha256=abc,1
vllm-1.0.dist-info/direct_url.json,sha256=abc,1
../../bin/vllm,sha256=abc,1
END
"""
STRIP = """#!/bin/sh
[ "$1" != --strip-unneeded ] || [ $(uname) != Darwin ] || exit 1
echo "$@" >> "$PREFIX/stripped"
"""
SED = """#!/bin/sh
[ "$1" != -i ] || [ $(uname) != Darwin ] || exit 1  # the next argument would be the suffix of a backup
exec {sed} "$@"
"""


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_what_the_build_script_leaves(tmp_path, system):
    programs = {
        "python": PIP,
        "strip": STRIP,
        "uname": f"#!/bin/sh\necho {system}\n",
        "sed": SED.format(sed=shutil.which("sed")),
    }
    prefix, work, packages = tmp_path / "prefix", tmp_path / "work", tmp_path / "packages"
    for folder in (prefix / "bin", work / "csrc", packages):
        folder.mkdir(parents=True)
    for name, text in programs.items():
        (prefix / "bin" / name).write_text(text)
        (prefix / "bin" / name).chmod(0o755)
    (work / "LICENSE").touch()
    (work / "csrc/a.cpp").touch()
    variables = {name: str(prefix) for name in ("PREFIX", "BUILD_PREFIX")} | {
        "PATH": f"{prefix}/bin:{os.environ['PATH']}",
        "SP_DIR": str(packages),
        "LDFLAGS": f"-Wl,-O2 -Wl,-rpath,{prefix}/lib",
        "VLLM_TARGET_DEVICE": "cpu",
    }
    done = subprocess.run(["bash", SCRIPT], cwd=work, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (information,) = packages.glob("*.dist-info")
    assert [file.name for file in information.iterdir()] == ["RECORD"]
    assert (information / "RECORD").read_text() == "vllm/__init__.py,sha256=abc,1\nvllm/_C.abi3.so,,\n"
    assert (packages / "vllm/target_device").read_text() == "cpu\n" and not (packages / "bin").exists()
    on_linux = system == "Linux"
    assert (prefix / "flags").read_text().split() == ["-Wl,-O2", *["-Wl,--build-id=none"] * on_linux]
    assert (prefix / "stripped").exists() == on_linux
    assert [path.name for path in work.iterdir()] == ["LICENSE"]
