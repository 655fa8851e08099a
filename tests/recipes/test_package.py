"""The installed package itself: what is in it, what it links, how large it is."""

import subprocess
from pathlib import Path

import pytest

from support.installed import PREFIX, record

SIZE_BUDGET = 5_000_000
TORCH_AND_RUNTIME = {"libtorch_cpu", "libgomp", "libhwy", "libstdc++", "libgcc_s", "libm", "libc", "ld-linux-x86-64"}


@pytest.fixture(scope="module")
def library() -> Path:
    (path,) = (PREFIX / file for file in record("vllm")["files"] if file.endswith("_C.abi3.so"))
    return path


def needed(library: Path) -> set[str]:
    """Sonames without their versions that `library` asks the loader for."""
    printed = subprocess.run(["patchelf", "--print-needed", library], capture_output=True, text=True, check=True)
    return {line.partition(".so")[0] for line in printed.stdout.split()}


def test_size():
    assert record("vllm")["size"] < SIZE_BUDGET


def test_serves_every_python():
    """Of all dependencies none ties the package to the Python that it was built with (CEP 20)."""
    depends = record("vllm")["depends"]
    assert "python >=3.10" in depends
    assert not [spec for spec in depends if spec.startswith("python_abi")]


def test_serves_every_later_torch():
    assert [spec for spec in record("vllm")["depends"] if "torch" in spec] == ["pytorch >=2.10"]


def test_links_torch_and_runtime_libraries_only(library):
    assert needed(library) <= TORCH_AND_RUNTIME
    assert "libtorch_cpu" in needed(library)


def test_library_paths_are_relative(library):
    printed = subprocess.run(["patchelf", "--print-rpath", library], capture_output=True, text=True, check=True)
    paths = [path.replace("$ORIGIN", str(library.parent)) for path in printed.stdout.strip().split(":")]
    assert [Path(path).resolve() for path in paths] == [library.parents[1] / "torch/lib", PREFIX / "lib"]


def test_uses_only_torchs_stable_abi(library):
    done = subprocess.run(["torch-abi-audit", library], capture_output=True, text=True)
    assert "Torch ABI:   STABLE" in done.stdout and "Min torch:   2.10.0" in done.stdout, done.stdout + done.stderr


def test_holds_no_tests_no_sources_and_no_bytecode_of_another_python():
    files = record("vllm")["files"]
    assert not [f for f in files if f.endswith((".cpp", ".h", ".a", ".o"))]
    assert not [f for f in files if "/tests/" in f or f.startswith("lib/python3.11/site-packages/tests")]


def test_command_is_installed_for_this_python():
    assert "bin/vllm" in record("vllm")["files"]
    assert str(PREFIX) in (PREFIX / "bin/vllm").read_text().splitlines()[0]


def test_no_file_names_a_build_folder():
    """Such a path would be replaced on installation; two builds would still differ."""
    assert not [file["_path"] for file in installed_paths() if file.get("prefix_placeholder")]


def installed_paths() -> list[dict]:
    """The conda record's entry of every file, without the command, which is written on installation."""
    return [file for file in record("vllm")["paths_data"]["paths"] if not file["_path"].startswith("bin/")]
