"""The device that a build is for, and the version that tells it."""

import re
import subprocess

import pytest

from build_support import target_device as devices
from build_support.requirement_files import read_requirements
from build_support.version import build_version, revision, source_version, stated_version
from support.checkout import ROOT

VARIABLES = ("VLLM_TARGET_DEVICE", "VLLM_MAIN_CUDA_VERSION", "VLLM_VERSION_OVERRIDE", "CUDACXX", "CUDA_HOME",
             "CUDA_PATH", "ROCM_PATH", "ROCM_VERSION",
             "SETUPTOOLS_SCM_PRETEND_VERSION", "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_VLLM")  # fmt: skip


@pytest.fixture(autouse=True)
def no_compilers(monkeypatch, tmp_path):
    """No variable of a build is set and no GPU's compiler is on PATH."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()


def put_compiler(folder, name: str, says: str = "") -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize("device", devices.DEVICES)
def test_device_is_the_one_asked_for(monkeypatch, device):
    monkeypatch.setenv("VLLM_TARGET_DEVICE", device)
    assert devices.target_device() == device


def test_a_device_may_be_in_capitals(monkeypatch):
    monkeypatch.setenv("VLLM_TARGET_DEVICE", "CPU")
    assert devices.target_device() == "cpu"


def test_unknown_device_is_refused(monkeypatch):
    monkeypatch.setenv("VLLM_TARGET_DEVICE", "gpu")
    with pytest.raises(ValueError, match="is 'gpu': set it to one of cuda, rocm, cpu, tpu, xpu, empty, or unset it"):
        devices.target_device()


@pytest.mark.parametrize(
    ("torch", "compiler", "device"),
    [
        ({"cuda": "13.0"}, "nvcc", "cuda"),
        ({"cuda": "13.0"}, None, "cpu"),
        ({"hip": "7.2"}, "hipcc", "rocm"),
        ({"hip": "7.2"}, None, "cpu"),
        ({}, "nvcc", "cpu"),
    ],
)
def test_detection_needs_torch_and_compiler(tmp_path, torch, compiler, device):
    if compiler:
        put_compiler(tmp_path, compiler)
    assert devices.detect_device(torch) == device


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_a_toolkit_that_is_named_is_enough(tmp_path, monkeypatch, variable):
    (tmp_path / "toolkit/bin").mkdir(parents=True)
    put_compiler(tmp_path / "toolkit", "nvcc", "release 13.0, V13.0.88")
    monkeypatch.setenv(variable, str(tmp_path / "toolkit"))
    assert devices.detect_device({"cuda": "13.0"}) == "cuda"
    assert devices.version_suffix("cuda") == "cu130"
    put_compiler(tmp_path, "nvcc", "release 12.9, V12.9.1")
    assert devices.version_suffix("cuda") == "cu129", "the one on PATH comes first, as for CMake"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", {"cuda": "13.0"}),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '7.2.1-abc'\n", {"hip": "7.2.1-abc"}),
        ("__version__ = '2.13.0+cpu'\ncuda = None\n", {}),
    ],
)
def test_torch_is_read_without_importing_it(tmp_path, monkeypatch, text, expected):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "torch/version.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "torch", raising=False)
    assert devices.torch_versions() == expected


def test_suffix_of_cuda_is_the_compilers(tmp_path):
    put_compiler(tmp_path, "nvcc", "Cuda compilation tools, release 13.0, V13.0.88")
    assert devices.version_suffix("cuda") == "cu130"


def test_a_named_compiler_may_have_flags(tmp_path, monkeypatch):
    put_compiler(tmp_path, "other-nvcc", "release 12.9, V12.9.1")
    monkeypatch.setenv("CUDACXX", f"{tmp_path}/bin/other-nvcc -ccbin g++")
    assert devices.version_suffix("cuda") == "cu129"


@pytest.mark.parametrize("text", ["/no/such/nvcc", "nvcc '-ccbin"])
def test_a_named_compiler_that_does_not_run_is_refused(monkeypatch, text):
    monkeypatch.setenv("CUDACXX", text)
    with pytest.raises(
        ValueError, match=r"^CUDACXX is '[^\n]+', which does not run \(.*\): set it to nvcc, or unset it$"
    ):
        devices.version_suffix("cuda")


@pytest.mark.parametrize(("main", "suffix"), [("13.0", ""), ("13.0.1", ""), ("12.9", "cu130")])
def test_main_cuda_version_has_no_suffix(tmp_path, monkeypatch, main, suffix):
    put_compiler(tmp_path, "nvcc", "release 13.0, V13.0.88")
    monkeypatch.setenv("VLLM_MAIN_CUDA_VERSION", main)
    assert devices.version_suffix("cuda") == suffix


def test_other_suffixes(monkeypatch):
    monkeypatch.setenv("ROCM_VERSION", "7.2.1")
    suffixes = {device: devices.version_suffix(device) for device in ("rocm", "cpu", "empty", "tpu", "xpu")}
    assert suffixes == {"rocm": "rocm72", "cpu": "cpu", "empty": "empty", "tpu": "tpu", "xpu": "xpu"}


def test_version_outside_a_checkout(tmp_path):
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/version.py").write_text('"""Doc."""\n\n__version__ = "1.2.3"\n')
    assert build_version("cpu", tmp_path) == "1.2.3+cpu"


def test_version_in_an_unpacked_sdist(tmp_path):
    """What its metadata states is no commit."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/version.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: vllm\nVersion: 1.2.3+g1a2b3c4.empty\n")
    assert build_version("cpu", tmp_path) == "1.2.3+cpu"


def test_version_past_a_release_names_the_commit(tmp_path, monkeypatch):
    pytest.importorskip("setuptools_scm")
    monkeypatch.undo()
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/version.py").write_text('__version__ = "1.2.3"\n')
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    commit = revision(tmp_path)
    assert re.fullmatch("g[0-9a-f]{8}", commit)
    subprocess.run([*git, "tag", "v1.2.3"], check=True)
    assert revision(tmp_path) == ""


@pytest.mark.parametrize("variable", ["VLLM_VERSION_OVERRIDE", "SETUPTOOLS_SCM_PRETEND_VERSION"])
def test_version_can_be_given(monkeypatch, variable):
    monkeypatch.setenv(variable, "9.9")
    assert build_version("cpu") == source_version() == "9.9"


def test_stated_version_is_the_packages():
    namespace: dict = {}
    exec((ROOT / "vllm/version.py").read_text(), namespace)
    assert stated_version() == namespace["__version__"]


def test_requirements_include_one_another(tmp_path):
    (tmp_path / "a.txt").write_text("# why\n-r b.txt\none>=1  # because\n\n")
    (tmp_path / "b.txt").write_text("two\n")
    assert read_requirements("a", tmp_path) == ["two", "one>=1"]
