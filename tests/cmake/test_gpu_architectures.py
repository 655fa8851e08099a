"""The functions of cmake/gpu_architectures.cmake, run by CMake."""

import pytest
import yaml

from support.checkout import ROOT
from support.cmake_run import refusal, script, value

CUDA13 = "7.5 8.0 8.6 8.7 8.9 9.0a 10.0f 10.3 11.0 12.0f 12.1+PTX"


def listed(text: str) -> str:
    return text.replace(" ", ";")


def intersection(folder, kernel: str, build: str) -> str:
    return value(folder, f'cuda_archs_loose_intersection(out "{listed(kernel)}" "{listed(build)}")').replace(";", " ")


@pytest.mark.parametrize(
    ("kernel", "build", "compiled"),
    [
        pytest.param("8.0 9.0", "8.0 9.0", "8.0 9.0", id="the same"),
        pytest.param("8.0", "8.0 8.6 8.9", "8.0", id="one serves its major version"),
        pytest.param("8.0 8.9", "8.6 8.9", "8.0 8.9", id="the newest not above"),
        pytest.param("8.9", "8.0", "", id="never older hardware"),
        pytest.param("8.0", "9.0", "", id="never another major version"),
        pytest.param("9.0a", "9.0", "9.0a", id="a for the plain one"),
        pytest.param("9.0a", "9.0a", "9.0a", id="a for a"),
        pytest.param("9.0 9.0a", "9.0a", "9.0a", id="a before plain"),
        pytest.param("9.0", "9.0a", "9.0", id="plain for a"),
        pytest.param("10.0a", "10.3", "", id="a for no later one"),
        pytest.param("10.0f", "10.0 10.3", "10.0f", id="f for its family"),
        pytest.param("10.0f", "11.0 12.0", "", id="f for no other family"),
        pytest.param("10.0a 10.0f", "10.0f", "10.0f", id="f before a for a family"),
        pytest.param("10.0a", "10.0f", "10.0a", id="a where a family has nothing else"),
        pytest.param("10.0f 10.3a", "10.0f 10.3", "10.0f 10.3a", id="the newer of f and a"),
        pytest.param("8.0 9.0", "8.0 9.0+PTX", "8.0 9.0+PTX", id="the build's PTX"),
        pytest.param("12.0f", "12.1+PTX", "12.0f", id="no PTX of a family"),
        pytest.param("8.0+PTX", "8.6 9.0 12.0", "8.0+PTX", id="the kernel's PTX serves later ones"),
        pytest.param("8.0+PTX 9.0", "9.0 12.0", "8.0+PTX 9.0", id="machine code before PTX"),
        pytest.param("9.0 8.0 7.5", "9.0 7.5 8.0", "7.5 8.0 9.0", id="ascending"),
        pytest.param("7.5 8.0 8.9 9.0 10.0 11.0 12.0", CUDA13, "7.5 8.0 8.9 9.0 10.0 11.0 12.0+PTX", id="CUDA 13"),
        pytest.param("9.0a 10.0f 12.0f", CUDA13, "9.0a 10.0f 12.0f", id="tensor core kernels of CUDA 13"),
    ],
)
def test_intersection(tmp_path, kernel, build, compiled):
    assert intersection(tmp_path, kernel, build) == compiled


def test_required_kernel_missing_for_an_architecture_is_refused(tmp_path):
    call = 'cuda_archs_loose_intersection(out "8.0;9.0a" "7.5;8.0" REQUIRED cache.cu)'
    message = refusal(tmp_path, call)
    assert "architecture 7.5 would be left without cache.cu, which compiles for 8.0 9.0a" in message


@pytest.mark.parametrize("arch", ["90", "9", "9.0b", "sm_90", "9.0+ptx", "12.10"])
def test_misspelt_architecture_is_refused(tmp_path, arch):
    message = refusal(tmp_path, f'cuda_archs_loose_intersection(out "{arch}" "9.0")')
    assert f"'{arch}' is not a CUDA architecture: write it as" in message


def test_extract_archs_from_flags(tmp_path):
    flags = (
        "-gencode arch=compute_120,code=compute_120 -gencode=arch=compute_90a,code=sm_90a -arch=sm_80 "
        "-gencode arch=compute_120,code=sm_120 -gencode arch=compute_20,code=sm_121 "
        "-gencode arch=compute_90a,code=sm_90a -gencode arch=compute_100f,code=sm_100f"
    )
    code = f'set(flags "{flags}")\nextract_unique_cuda_archs_ascending(out "${{flags}}")\n'
    assert value(tmp_path, code) == "8.0;9.0a;10.0f;12.0;12.1"
    code += 'add_ptx_of_flags(out "${out}" "${flags}")'
    assert value(tmp_path, code) == "8.0;9.0a;10.0f;12.0+PTX;12.1"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (
            "-O1 -gencode arch=compute_80,code=sm_80 --generate-code=arch=compute_90,code=sm_90 -lineinfo",
            "-O1 -lineinfo",
        ),
        ("-Wall -gencode arch=compute_80,code=sm_80 --generate-code=arch=compute_90,code=sm_90", "-Wall "),
    ],
)
def test_clear_cuda_gencode_flags_keeps_the_other_flags(tmp_path, given, left):
    code = (
        f'set(CMAKE_CUDA_FLAGS "{given}")\n'
        'clear_cuda_gencode_flags(found)\nset(out "${CMAKE_CUDA_FLAGS}|${found}|${CMAKE_CUDA_ARCHITECTURES}")'
    )
    flags, found, architectures = value(tmp_path, code).split("|")
    assert flags == left
    assert found == "-gencode arch=compute_80,code=sm_80;--generate-code=arch=compute_90,code=sm_90"
    assert architectures == "OFF"


def test_gencode_flags(tmp_path):
    flags = value(tmp_path, 'cuda_gencode_flags(out "9.0a;10.0f;12.1+PTX")').split(";")
    assert flags == [
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_100f,code=sm_100f",
        "-gencode=arch=compute_121,code=sm_121",
        "-gencode=arch=compute_121,code=compute_121",
    ]


@pytest.mark.parametrize(
    ("toolkit", "accepted", "refused"),
    [
        ("13.0", ["7.5", "9.0a", "10.0f", "11.0", "12.1"], ["7.0", "10.1"]),
        ("12.9", ["7.0", "10.0f", "10.3", "12.1a"], ["11.0", "6.1"]),
        ("12.8", ["7.0", "10.1", "12.0a"], ["10.0f", "12.1"]),
        ("12.4", ["7.0", "9.0a"], ["10.0", "12.0"]),
    ],
)
def test_supported_archs_follow_the_toolkit(tmp_path, toolkit, accepted, refused):
    supported = value(tmp_path, f"supported_cuda_archs(out {toolkit})").split(";")
    assert set(accepted) <= set(supported)
    assert not set(refused) & set(supported)


@pytest.mark.parametrize("toolkit", ["13.0", "12.9", "12.8", "12.4"])
def test_default_archs_are_supported(tmp_path, toolkit):
    code = f"supported_cuda_archs(all {toolkit})\ndefault_cuda_archs(d {toolkit})\n"
    code += 'override_gpu_arches(out CUDA "${all}" "${d}")'
    assert value(tmp_path, code).endswith("+PTX")


@pytest.mark.parametrize("text", ["8.0;9.0a+PTX", "8.0 9.0a+PTX", " 8.0, 9.0a+PTX "])
def test_environment_overrides_cuda_archs(tmp_path, text):
    code = 'override_gpu_arches(out CUDA "8.0;9.0;9.0a;12.0" "12.0")'
    assert value(tmp_path, code, TORCH_CUDA_ARCH_LIST=text) == "8.0;9.0a+PTX"
    assert value(tmp_path, code) == "12.0"


@pytest.mark.parametrize("text", ["", "  ", ";", " , "])
def test_a_blank_list_of_archs_is_none(tmp_path, text):
    code = f'set(TORCH_CUDA_ARCH_LIST "{text}")\noverride_gpu_arches(out CUDA "8.0;12.0" "12.0")'
    assert value(tmp_path, code, TORCH_CUDA_ARCH_LIST=text) == "12.0"
    assert value(tmp_path, 'override_gpu_arches(out HIP "gfx90a;gfx942")', PYTORCH_ROCM_ARCH=text) == "gfx90a;gfx942"


def test_environment_overrides_rocm_archs(tmp_path):
    code = 'override_gpu_arches(out HIP "gfx90a;gfx942;gfx1100")'
    assert value(tmp_path, code, PYTORCH_ROCM_ARCH="gfx942 gfx90a:sramecc+:xnack-") == "gfx942;gfx90a:sramecc+:xnack-"
    assert value(tmp_path, code) == "gfx90a;gfx942;gfx1100"


@pytest.mark.parametrize(
    ("lang", "variable", "text", "given"),
    [
        ("CUDA", "TORCH_CUDA_ARCH_LIST", "8.0 3.5", "3.5"),
        ("CUDA", "TORCH_CUDA_ARCH_LIST", "Hopper", "Hopper"),
        ("HIP", "PYTORCH_ROCM_ARCH", "gfx803", "gfx803"),
    ],
)
def test_unsupported_arch_is_refused_and_the_supported_named(tmp_path, lang, variable, text, given):
    message = refusal(tmp_path, f'override_gpu_arches(out {lang} "8.0;gfx942")', **{variable: text})
    assert f"{variable} names '{given}', which this toolchain does not support: choose from 8.0 gfx942" in message


def test_set_gencode_flags_needs_sources_and_archs(tmp_path):
    assert "both required" in refusal(tmp_path, "set_gencode_flags_for_srcs(SRCS a.cu CUDA_ARCHS)")


@pytest.mark.parametrize(("lane", "toolkit"), [("cuda13", "13.0"), ("cuda12", "12.9")])
def test_defaults_equal_the_lanes_keys(tmp_path, lane, toolkit):
    """pip builds are for the architectures that the recipes' lanes are for."""
    lane_archs = yaml.safe_load((ROOT / "recipe-variants" / f"{lane}.yaml").read_text())["vllm_cuda_archs"]
    assert set(lane_archs) == {value(tmp_path, f"default_cuda_archs(out {toolkit})").replace(";", " ")}


def test_rocm_archs_equal_the_lanes_key(tmp_path):
    (lane_archs,) = yaml.safe_load((ROOT / "recipe-variants" / "rocm7.yaml").read_text())["vllm_rocm_archs"]
    assert value(tmp_path, "", "VLLM_SUPPORTED_ROCM_ARCHS").replace(";", " ") == lane_archs


def test_script_mode_is_quiet(tmp_path):
    """Including the functions does nothing by itself."""
    assert script(tmp_path, "").stdout == ""
