"""Extensions taken out of wheels and .conda packages."""

import functools
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from build_support.precompiled import precompiled_wheel_utils, use_precompiled

CONTENTS = {"vllm/_C.abi3.so": b"kernels", "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so": b"attention"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    monkeypatch.delenv("VLLM_USE_PRECOMPILED", raising=False)
    monkeypatch.delenv("VLLM_PRECOMPILED_WHEEL_LOCATION", raising=False)


def make_wheel(path, contents=CONTENTS):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vllm/__init__.py", "")
        archive.writestr("other/_C.abi3.so", b"not ours")
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def make_conda(path, contents=CONTENTS):
    zstandard = pytest.importorskip("zstandard")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in {"vllm/__init__.py": b"", **contents}.items():
            member = tarfile.TarInfo(f"site-packages/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("pkg-vllm-1-0.tar.zst", zstandard.compress(plain.getvalue()))
    return path


def extracted(location, folder) -> dict[str, bytes]:
    names = precompiled_wheel_utils.extract(str(location), folder)
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("make", "name"), [(make_wheel, "vllm-1-cp310-abi3-linux.whl"), (make_conda, "vllm-1-0.conda")]
)
def test_extensions_of_a_package(tmp_path, make, name):
    assert extracted(make(tmp_path / name), tmp_path / "out") == CONTENTS
    assert not (tmp_path / "out/other").exists() and not (tmp_path / "out/vllm/__init__.py").exists()


def test_package_from_a_url(tmp_path):
    make_wheel(tmp_path / "vllm-1.whl")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            assert extracted(f"{url}/vllm-1.whl#sha256=0", tmp_path / "out") == CONTENTS
            with pytest.raises(ValueError, match="cannot be fetched: HTTP Error 404"):
                extracted(f"{url}/gone.whl", tmp_path / "out")
        finally:
            server.shutdown()
            thread.join()


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="which does not exist"):
        extracted(tmp_path / "gone.whl", tmp_path)


def test_file_that_is_no_package_is_refused(tmp_path):
    (tmp_path / "x.whl").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"is not a wheel or \.conda"):
        extracted(tmp_path / "x.whl", tmp_path)


def test_package_without_extensions_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no extension of vllm"):
        extracted(make_wheel(tmp_path / "x.whl", {}), tmp_path / "out")


@pytest.mark.parametrize(
    ("use", "location", "expected"),
    [("", "", False), ("1", "", True), ("0", "x.whl", False), ("", "x.whl", True), ("false", "", False)],
)
def test_when_it_is_used(monkeypatch, use, location, expected):
    monkeypatch.setenv("VLLM_USE_PRECOMPILED", use)
    monkeypatch.setenv("VLLM_PRECOMPILED_WHEEL_LOCATION", location)
    assert use_precompiled() is expected


@pytest.mark.parametrize(
    ("location", "message"),
    [("", "is set without VLLM_PRECOMPILED_WHEEL_LOCATION: set that"), ("vllm.zip", "must name a .whl or a .conda")],
)
def test_location_is_checked(monkeypatch, location, message):
    monkeypatch.setenv("VLLM_PRECOMPILED_WHEEL_LOCATION", location)
    with pytest.raises(ValueError, match=message):
        precompiled_wheel_utils.location()
