"""Extensions built from small sources by define_extension_target, and configurations of the whole project."""

import ctypes
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.cmake_run import cmake, configure, environment, program

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="reads ELF files")

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(t LANGUAGES CXX)
include({cmake}/utils.cmake)
find_python_from_executable({python})
find_torch_stable_abi()
choose_target_device()
{lines}
"""
KERNEL = """
#ifdef __HIP_PLATFORM_AMD__
#include <hip/hip_runtime.h>
using Stream = hipStream_t;
#else
using Stream = cudaStream_t;
#endif
__global__ void Increment(float* x) { x[threadIdx.x] += 1; }
void NAME(float* x, void* stream) { Increment<<<1, 32, 0, static_cast<Stream>(stream)>>>(x); }
"""
LIBRARY = """
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
extern "C" __attribute__((visibility("default"))) int Answer() { return VALUE + aoti_torch_device_type_cpu(); }
extern "C" int Hidden() { return 1; }
"""
BINDING = """
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
void One(float*, void*);
void Two(float*, void*);
extern "C" __attribute__((visibility("default"))) void Run(float* x) {
  void* stream = nullptr;
  aoti_torch_get_current_cuda_stream(0, &stream);
  One(x, stream);
  Two(x, stream);
}
"""


def write_project(folder: Path, lines: str, **sources: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "CMakeLists.txt").write_text(PROJECT.format(cmake=ROOT / "cmake", python=sys.executable, lines=lines))
    for name, text in sources.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def build(project: Path) -> str:
    done = cmake("--build", project / "build", "--verbose")
    assert done.returncode == 0, done.stdout
    return done.stdout


def dynamic(library: Path) -> str:
    return subprocess.run([program("readelf"), "-dW", str(library)], capture_output=True, text=True, check=True).stdout


def test_cxx_extension(tmp_path):
    program("c++")
    folders = [tmp_path / "a", tmp_path / "elsewhere/b"]
    lines = "define_extension_target(_C DESTINATION vllm SOURCES a.cpp DEFINITIONS VALUE=42)"
    for folder in folders:
        project = write_project(folder, lines, a_cpp=LIBRARY)
        assert configure(project, "-DCMAKE_BUILD_TYPE=Release").returncode == 0
        build(project)
        done = cmake("--install", project / "build", "--prefix", folder / "out", "--component", "_C")
        assert done.returncode == 0, done.stdout
    first, second = (folder / "out/vllm/_C.abi3.so" for folder in folders)
    assert first.read_bytes() == second.read_bytes(), "the folder must not change the library"
    section = dynamic(first)
    assert "libtorch_cpu.so" in section and "libpython" not in section
    assert "$ORIGIN/../torch/lib:$ORIGIN/../../.." in section
    import torch  # noqa: F401  (the library's run-time path leads from an installed package to torch, not from here)

    library = ctypes.CDLL(str(first))
    assert library.Answer() == 42
    assert not hasattr(library, "Hidden")


def test_only_what_changed_is_compiled_again(tmp_path):
    program("c++")
    sources = {
        "a_cpp": '#include "a.h"\nint One() { return VALUE; }\n',
        "a_h": "#define VALUE 1\n",
        "b_cpp": LIBRARY.replace("VALUE", "42"),
    }
    project = write_project(
        tmp_path / "p", "define_extension_target(_C DESTINATION vllm SOURCES a.cpp b.cpp)", **sources
    )
    assert configure(project).returncode == 0

    def compiled() -> list[str]:
        return sorted(re.findall(r" -c \S*/(\w+\.cpp)", build(project)))

    assert compiled() == ["a.cpp", "b.cpp"]
    assert compiled() == []
    (project / "a.h").write_text("#define VALUE 2\n")
    assert compiled() == ["a.cpp"], "a header is of concern to those that include it"
    assert configure(project).returncode == 0
    assert compiled() == [], "configuring again changes nothing"


def test_shared_objects_are_compiled_once_and_linked_where_they_are_referred_to(tmp_path):
    program("c++")
    lines = """
define_shared_objects(common SOURCES one.cpp two.cpp)
define_extension_target(_a_C DESTINATION vllm SOURCES a.cpp LIBRARIES common)
define_extension_target(_b_C DESTINATION vllm SOURCES b.cpp LIBRARIES common)
"""
    sources = {
        "one_cpp": 'int One() { return "text of one"[0]; }\n',
        "two_cpp": 'const char* Two() { return "text of two"; }\n',
        "a_cpp": "int One();\n" + LIBRARY.replace("VALUE", "One()"),
        "b_cpp": "const char* Two();\n" + LIBRARY.replace("VALUE", "Two()[0]"),
    }
    project = write_project(tmp_path / "p", lines, **sources)
    assert configure(project, "-DCMAKE_BUILD_TYPE=Release").returncode == 0
    assert sorted(re.findall(r" -c \S*/(\w+\.cpp)", build(project))) == ["a.cpp", "b.cpp", "one.cpp", "two.cpp"]
    first, second = (project / f"build/{name}.abi3.so" for name in ("_a_C", "_b_C"))
    assert b"text of two" in second.read_bytes() and b"text of two" not in first.read_bytes()
    import torch  # noqa: F401  (the library's run-time path leads from an installed package to torch, not from here)

    assert ctypes.CDLL(str(first)).Answer() == ctypes.CDLL(str(second)).Answer() == ord("t")


def test_an_extension_in_a_folder_of_its_own_finds_torch_from_there(tmp_path):
    program("c++")
    lines = "define_extension_target(_x_C DESTINATION vllm/x SOURCES a.cpp DEFINITIONS VALUE=1)"
    project = write_project(tmp_path / "a", lines, a_cpp=LIBRARY)
    assert configure(project, "-DCMAKE_BUILD_TYPE=Release").returncode == 0
    build(project)
    (library,) = (project / "build").glob("_x_C.abi3.so")
    assert "$ORIGIN/../../torch/lib:$ORIGIN/../../../.." in dynamic(library)


DEVICE = """
define_extension_target(_C DESTINATION vllm LANGUAGE {language} SOURCES b.cpp DEVICE_SOURCES one.cu two.cu)
"""


def device_sources() -> dict[str, str]:
    return {
        "b_cpp": BINDING,
        "one_cu": KERNEL.replace("NAME", "One"),
        "two_cu": KERNEL.replace("Increment", "Add").replace("NAME", "Two"),
    }


def test_cuda_extension(tmp_path):
    program("nvcc")
    lines = (
        'enable_cuda()\ncuda_archs_loose_intersection(archs "9.0a;12.0f" "${VLLM_GPU_ARCHS}")\n'
        "set_gencode_flags_for_srcs(SRCS two.cu CUDA_ARCHS ${archs})" + DEVICE.format(language="CUDA")
    )
    project = write_project(tmp_path / "p", lines, **device_sources())
    variables = {"VLLM_TARGET_DEVICE": "cuda", "TORCH_CUDA_ARCH_LIST": "8.0 9.0a 12.0+PTX", "NVCC_THREADS": "2"}
    done = configure(project, "-DCMAKE_BUILD_TYPE=Release", **variables)
    assert done.returncode == 0, done.stdout
    compiled = {
        line.split(" -c ")[1]: line for line in build(project).splitlines() if "nvcc" in line and " -c " in line
    }
    codes = {Path(key.split()[0]).name: re.findall(r",code=(\w+)", line) for key, line in compiled.items()}
    assert codes == {
        "one.cu": ["sm_80", "sm_90a", "sm_120", "compute_120"],
        "two.cu": ["sm_90a", "sm_120f"],
    }
    assert all("--threads=2" in line for line in compiled.values())
    section = dynamic(project / "build/_C.abi3.so")
    assert "libtorch_cuda.so" in section, "torch's CUDA library must be loaded with the extension"
    assert "libcudart.so" in section


def test_unsupported_cuda_arch_is_refused_before_compiling(tmp_path):
    program("nvcc")
    project = write_project(tmp_path / "p", "enable_cuda()")
    done = configure(project, VLLM_TARGET_DEVICE="cuda", TORCH_CUDA_ARCH_LIST="3.5 8.0")
    assert "TORCH_CUDA_ARCH_LIST names '3.5', which this toolchain does not support: choose from" in done.stdout


def test_cuda_without_nvcc_is_refused(tmp_path):
    project = write_project(tmp_path / "p", "enable_cuda()")
    done = configure(project, "-DCMAKE_CUDA_COMPILER=NOTFOUND", VLLM_TARGET_DEVICE="cuda")
    assert "VLLM_TARGET_DEVICE=cuda needs nvcc: put it on PATH, or set CUDACXX to it" in done.stdout


def test_hip_extension(tmp_path):
    if not list(Path("/usr/lib").glob("*/libamdhip64.so")) and not Path("/opt/rocm").exists():
        pytest.skip("libamdhip64 is not installed")
    shutil.which("clang++") or program("clang++-19")
    project = write_project(tmp_path / "p", "enable_rocm()" + DEVICE.format(language="HIP"), **device_sources())
    flags = [f"--rocm-device-lib-path={folder}" for folder in Path("/usr/lib").glob("*/amdgcn/bitcode")]
    variables = {"VLLM_TARGET_DEVICE": "rocm", "PYTORCH_ROCM_ARCH": "gfx90a", "HIPFLAGS": " ".join(flags)}
    done = configure(project, "-DCMAKE_BUILD_TYPE=Release", **variables)
    assert done.returncode == 0, done.stdout
    assert build(project).count("--offload-arch=gfx90a") == 2
    section = dynamic(project / "build/_C.abi3.so")
    assert "libtorch_hip.so" in section and "libamdhip64.so" in section
    (project / "two.cu").write_text((project / "two.cu").read_text() + "\n")
    assert f"-c {project}/one.cu" not in build(project), "an unchanged source must not be compiled again"


def configure_checkout(folder: Path, *arguments: str, **variables: str):
    return cmake("-S", ROOT, "-B", folder, "-G", "Ninja", *arguments, **variables)


@pytest.mark.parametrize("device", ["xpu", "tpu", "empty"])
def test_devices_without_extensions_need_no_compiler(tmp_path, device):
    done = configure_checkout(tmp_path, "-DCMAKE_CXX_COMPILER=/no/such", VLLM_TARGET_DEVICE=device)
    assert done.returncode == 0, done.stdout
    assert f"VLLM_TARGET_DEVICE={device}: there is nothing to compile" in done.stdout


def test_configuring_needs_no_network(tmp_path):
    """The whole project, configured where no network is."""
    program("c++")
    isolated = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us unshare the network")
    command = [
        program("cmake"),
        "-S",
        str(ROOT),
        "-B",
        str(tmp_path / "b"),
        f"-DVLLM_PYTHON_EXECUTABLE={sys.executable}",
    ]
    done = subprocess.run([*isolated, *command], env=environment(), capture_output=True, text=True)
    if "Highway >= 1.3 was not found" in " ".join(done.stderr.split()):
        pytest.skip("Highway is not in this environment")
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "b/compile_commands.json").read_text()
    assert "csrc/cpu/norm.cpp" in commands


def test_a_build_type_without_flags_is_refused(tmp_path):
    """It would be compiled without optimisation."""
    program("c++")
    message = configure_checkout(tmp_path / "b", "-DCMAKE_BUILD_TYPE=Optimised").stdout
    assert "CMAKE_BUILD_TYPE is 'Optimised': set it to Release, RelWithDebInfo, MinSizeRel or Debug" in message
    for kind, flags in (("release", ""), ("None", "-g -O2")):
        arguments = f"-DCMAKE_BUILD_TYPE={kind}", "-DVLLM_PYTHON_EXECUTABLE=/no"
        message = configure_checkout(tmp_path / kind, *arguments, CXXFLAGS=flags).stdout
        assert "CMAKE_BUILD_TYPE" not in message and "Python '/no' does not exist" in message


def test_missing_highway_is_refused(tmp_path):
    program("c++")
    done = configure_checkout(tmp_path / "b", "-Dhwy_DIR=/no", "-DCMAKE_DISABLE_FIND_PACKAGE_hwy=ON",
                              f"-DVLLM_PYTHON_EXECUTABLE={sys.executable}")  # fmt: skip
    assert "Highway >= 1.3 was not found: install it" in done.stdout
