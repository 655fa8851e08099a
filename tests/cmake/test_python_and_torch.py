"""Functions that find Python, torch and CUTLASS, and define_extension_target's refusals."""

import sys
from pathlib import Path

import pytest

from support.cmake_run import CMAKE_FOLDER, configure, refusal, value

PYTHON = f"set(VLLM_PYTHON_EXECUTABLE {sys.executable})\n"


def test_python_is_the_one_given(tmp_path):
    call = f"find_python_from_executable({sys.executable})"
    assert value(tmp_path, call, "VLLM_PYTHON_EXECUTABLE") == sys.executable


def test_python_on_path_where_none_is_given(tmp_path):
    found = value(tmp_path, 'find_python_from_executable("")', "VLLM_PYTHON_EXECUTABLE")
    assert Path(found).name.startswith("python")


def test_missing_python_is_refused(tmp_path):
    message = refusal(tmp_path, "find_python_from_executable(/no/such/python)")
    assert "Python '/no/such/python' does not exist: pass -DVLLM_PYTHON_EXECUTABLE" in message


def test_old_python_is_refused(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 3.9\n")
    python.chmod(0o755)
    assert "is Python '3.9': 3.10 or later is needed" in refusal(tmp_path, f"find_python_from_executable({python})")


def test_append_cmake_prefix_path(tmp_path):
    code = PYTHON + 'set(CMAKE_PREFIX_PATH /a)\nappend_cmake_prefix_path("sys" "sys.prefix")\n'
    code += 'append_cmake_prefix_path("no_such_module" "no_such_module.path")'
    assert value(tmp_path, code, "CMAKE_PREFIX_PATH") == f"/a;{sys.prefix}"


def torch_folder(folder: Path, flags: str | None = None) -> Path:
    """A folder with what extensions take from torch, and nothing to run."""
    (folder / "include/torch/csrc/stable").mkdir(parents=True)
    (folder / "include/torch/csrc/stable/library.h").touch()
    (folder / "lib").mkdir()
    (folder / "lib/libtorch_cpu.so").touch()
    if flags is not None:
        (folder / "utils").mkdir()
        (folder / "utils/cpp_extension.py").write_text(flags)
    return folder


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("CUDA", "--expt-relaxed-constexpr"),
        (
            "HIP",
            "-D__HIP_PLATFORM_AMD__=1;-DUSE_ROCM=1;-DHIPBLAS_V2;-fPIC;-DCUDA_HAS_FP16=1;-DHIP_ENABLE_WARP_SYNC_BUILTINS=1",
        ),
    ],
)
def test_gpu_flags_without_a_python_torch(tmp_path, lang, expected):
    code = f"set(VLLM_TORCH_DIR {torch_folder(tmp_path / 'torch')})\nget_torch_gpu_compiler_flags(out {lang})"
    assert value(tmp_path, code) == expected


def test_gpu_flags_are_the_ones_of_the_torch_at_hand(tmp_path):
    flags = "\nCOMMON_NVCC_FLAGS = [\n    '-D__CUDA_NO_HALF_OPERATORS__',\n    '--new-flag',\n]\n"
    flags += "COMMON_HIP_FLAGS = ['-hip']\n"
    code = f"set(VLLM_TORCH_DIR {torch_folder(tmp_path / 'torch', flags)})\nget_torch_gpu_compiler_flags(out CUDA)"
    assert value(tmp_path, code) == "--new-flag"


def test_gpu_flags_of_the_installed_torch(tmp_path):
    flags = value(tmp_path, PYTHON + "get_torch_gpu_compiler_flags(out CUDA)").split(";")
    assert "--expt-relaxed-constexpr" in flags
    assert not [flag for flag in flags if "_NO_HALF" in flag]


def project(folder: Path, lines: str, languages: str = "NONE") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.25)\nproject(t LANGUAGES {languages})\n"
        f"include({CMAKE_FOLDER}/utils.cmake)\n{lines}\n"
    )
    return folder


def test_torch_dir_leads_to_headers_and_library(tmp_path):
    torch = torch_folder(tmp_path / "torch")
    lines = (
        f"set(VLLM_TORCH_DIR {torch})\nfind_torch_stable_abi()\n"
        "get_target_property(i torch::stable INTERFACE_INCLUDE_DIRECTORIES)\n"
        'get_target_property(l torch::stable IMPORTED_LOCATION)\nmessage("found ${i} ${l}")'
    )
    done = configure(project(tmp_path / "p", lines, "CXX"))
    assert f"found {torch}/include {torch}/lib/libtorch_cpu.so" in done.stdout


def test_torch_without_a_stable_abi_is_refused(tmp_path):
    (tmp_path / "torch").mkdir()
    lines = f"set(VLLM_TORCH_DIR {tmp_path}/torch)\nfind_torch_stable_abi()"
    assert "torch >= 2.10 is needed" in configure(project(tmp_path / "p", lines, "CXX")).stdout


def test_cross_build_without_torch_is_refused(tmp_path):
    lines = "find_torch_stable_abi()"
    cross = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
    message = configure(project(tmp_path / "p", lines), *cross).stdout
    assert "compiling for aarch64 needs that platform's torch: pass -DVLLM_TORCH_DIR=" in message


def test_conda_cross_build_finds_the_host_environment_s_torch(tmp_path):
    torch = torch_folder(tmp_path / "host/lib/python3.11/site-packages/torch")
    lines = 'find_torch_stable_abi()\nmessage("found ${VLLM_TORCH_CPU_LIBRARY}")'
    cross = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
    done = configure(project(tmp_path / "p", lines), *cross, PREFIX=str(tmp_path / "host"))
    assert f"found {torch}/lib/libtorch_cpu.so" in done.stdout


CUTLASS = 'find_cutlass()\nif(TARGET vllm::cutlass)\nmessage("found ${VLLM_CUTLASS_INCLUDE_DIR}")\nendif()'


def cutlass(folder: Path) -> Path:
    (folder / "include/cutlass").mkdir(parents=True)
    (folder / "include/cutlass/cutlass.h").touch()
    return folder


def test_cutlass_checkout(tmp_path):
    source = cutlass(tmp_path / "checkout")
    p = project(tmp_path / "p", PYTHON + CUTLASS)
    assert f"found {source}/include" in configure(p, f"-DVLLM_CUTLASS_SRC_DIR={source}").stdout
    (p / "build/CMakeCache.txt").unlink()
    assert f"found {source}/include" in configure(p, VLLM_CUTLASS_SRC_DIR=str(source)).stdout


def test_cutlass_in_fetchcontent_base_dir(tmp_path):
    source = cutlass(tmp_path / "base/cutlass-src")
    done = configure(project(tmp_path / "p", PYTHON + CUTLASS), f"-DFETCHCONTENT_BASE_DIR={tmp_path}/base")
    assert f"found {source}/include" in done.stdout


def test_cutlass_checkout_without_headers_is_refused(tmp_path):
    done = configure(project(tmp_path / "p", CUTLASS), f"-DVLLM_CUTLASS_SRC_DIR={tmp_path}")
    assert "which has no include/cutlass/cutlass.h: name a CUTLASS checkout" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("SOURCES a.cpp", "DESTINATION is required"),
        ("DESTINATION vllm", "SOURCES are required"),
        ("FAST DESTINATION vllm SOURCES a.cpp", "unknown arguments: 'FAST'"),
        ("DESTINATION vllm SOURCES a.cpp LANGUAGE Fortran", "LANGUAGE is 'Fortran', it must be CXX, CUDA or HIP"),
        ("DESTINATION vllm SOURCES a.cpp DEVICE_SOURCES a.cu", "CUDA or HIP where there are DEVICE_SOURCES"),
    ],
)
def test_define_extension_target_refuses(tmp_path, arguments, message):
    assert message in refusal(tmp_path, f"define_extension_target(_C {arguments})")


def test_unknown_device_is_refused(tmp_path):
    assert value(tmp_path, "choose_target_device()", "VLLM_TARGET_DEVICE", VLLM_TARGET_DEVICE="ROCm") == "rocm"
    message = refusal(tmp_path, "choose_target_device()", VLLM_TARGET_DEVICE="gpu")
    assert "VLLM_TARGET_DEVICE is 'gpu': set it to cpu, cuda, rocm, xpu, tpu or empty" in message
