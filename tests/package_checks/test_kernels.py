"""Which processors the kernels are for: CPU instruction sets, CUDA and HIP device code.

data/scale.fatbin is nvcc 13's (`-gencode` for sm_75, sm_90a, sm_100f, sm_121 and compute_121, `-compress-mode=size`),
data/scale.ccob clang 19's (`--offload-arch` gfx90a, gfx942, gfx1201, `--offload-compress`), both of a kernel that
scales a vector.
"""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from support.conda_file import LIBRARY, Contents
from tooling import package_checks
from tooling.package_checks import cuda_fatbin, hip_bundle
from tooling.package_checks.elf import Library

DATA = Path(__file__).parent / "data"
CUDA_ARCHS = "7.5 9.0a 10.0f 12.1+PTX"
HIP_ARCHS = "gfx90a gfx942 gfx1201"


def kernels(*instructions: str) -> str:
    """C source with these instructions in it."""
    return f"void f(void) {{ {''.join(f'__asm__ volatile({i!r});' for i in instructions).replace(chr(39), chr(34))} }}"


SSE2 = "mulps %xmm0, %xmm1"
AVX2 = "vpaddd %ymm0, %ymm1, %ymm2"
AVX_VNNI = "{vex} vpdpbusd %ymm0, %ymm1, %ymm2"
AVX512 = "vaddps %zmm0, %zmm1, %zmm2"
BF16 = "vdpbf16ps %zmm0, %zmm1, %zmm2"
AMX = "tdpbf16ps %tmm0, %tmm1, %tmm2"
V3 = (AVX2, AVX_VNNI, AVX512, BF16, AMX)
ALL = (SSE2, *V3)


def vllm(with_library, *instructions: str, baseline: str = "") -> Contents:
    return with_library(kernels(*instructions), name="vllm", variant={"vllm_cpu_baseline": baseline})


@pytest.mark.parametrize(
    ("instructions", "baseline"),
    [(ALL, ""), (V3, "x86-64-v3"), ((AVX512, BF16, AMX), "x86-64-v4")],
)
def test_every_instruction_set_is_there(findings, with_library, instructions, baseline):
    assert findings(vllm(with_library, *instructions, baseline=baseline)) == {}


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        (SSE2, "sse2"),
        (AVX2, "avx2"),
        (AVX_VNNI, "avx2_vnni"),
        (AVX512, "avx512"),
        (BF16, "avx512_bf16"),
        (AMX, "amx"),
    ],
)
def test_an_instruction_set_without_kernels(findings, with_library, missing, name):
    found = findings(vllm(with_library, *(i for i in ALL if i != missing)))
    assert found == {"instructions": f"no kernel for {name}, which a build for every linux-64 promises"}


def test_a_build_that_was_asked_to_leave_avx512_out(findings, with_library, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_DISABLE_AVX512", "on")
    assert findings(vllm(with_library, SSE2, AVX2, AVX_VNNI)) == {}
    assert findings(vllm(with_library, SSE2, AVX2)) == {
        "instructions": "no kernel for avx2_vnni, which a build for every linux-64 promises"
    }


def test_without_a_disassembler_only_x86_kernels_go_unchecked(with_library, findings, tmp_path, monkeypatch):
    """There are wheels of it for x86-64 only."""
    monkeypatch.setitem(sys.modules, "iced_x86", None)
    with package_checks.opened(vllm(with_library, *ALL).write(tmp_path)) as package:
        reports = {report.check.name: report for report in package_checks.run(package)}
    assert reports["instructions"].line.startswith("skip instructions: x86-64 code cannot be read here")
    assert not any(report.findings for report in reports.values())
    assert "no kernel for sve" in findings(aarch64(with_library, NEON))["instructions"]


def test_moves_and_scalar_arithmetic_are_no_kernels(findings, with_library):
    found = findings(vllm(with_library, "movups %xmm0, %xmm1", "mulss %xmm0, %xmm1", *V3))
    assert "no kernel for sse2" in found["instructions"]


def test_a_slim_build_with_kernels_below_its_baseline(findings, with_library):
    found = findings(vllm(with_library, *ALL, baseline="x86-64-v3"))
    assert found == {"instructions": "kernels for sse2, which baseline x86-64-v3 leaves out"}


NEON = 0x4E20CC00  # fmla v0.4s, v0.4s, v0.4s
SVE = 0x2598E3E0  # ptrue p0.s


def aarch64(with_library, *words: int) -> Contents:
    """A package whose library has these instructions in its text, and says that it is for Arm."""
    variant = {"target_platform": "linux-aarch64"}
    code = f'void f(void) {{ __asm__ volatile(".balign 4; .long {",".join(map(str, words))}"); }}'
    contents = with_library(code, name="vllm", index={"subdir": "linux-aarch64"}, variant=variant)
    data = contents.files[LIBRARY]
    contents.files[LIBRARY] = data[:18] + (183).to_bytes(2, "little") + data[20:]  # e_machine: EM_AARCH64
    return contents


def test_arm_kernels(findings, with_library):
    assert findings(aarch64(with_library, NEON, SVE)) == {}
    found = findings(aarch64(with_library, NEON))
    assert found == {"instructions": "no kernel for sve, which a build for every linux-aarch64 promises"}


def device_code(section: str, *blobs: bytes) -> str:
    """Assembly in C that puts blobs into a section, each at a page boundary as linkers of device code do."""
    lines = [f'.pushsection {section},\\"a\\"']
    for blob in blobs:
        lines += [".balign 4096", f".byte {','.join(map(str, blob))}"]
    return f'__asm__("{chr(92)}n{(chr(92) + "n").join([*lines, ".popsection"])}{chr(92)}n");'


@pytest.fixture
def cuda(with_library):
    def make(archs: str = CUDA_ARCHS, device: str = "cuda", name: str = "toy", count: int = 1) -> Contents:
        source = device_code(".nv_fatbin", *[(DATA / "scale.fatbin").read_bytes()] * count)
        variant = {"vllm_target_device": device, "vllm_cuda_archs": archs, "vllm_lane": device}
        return with_library(source, name=name, build=f"{device}130_h0_0", variant=variant)

    return make


def bundle(*targets: str) -> bytes:
    """A plain offload bundle as clang writes it: a host entry without code, then the targets."""
    entries = [("host-x86_64-unknown-linux--", b""), *((f"hipv4-amdgcn-amd-amdhsa--{t}", b"\x7fELF") for t in targets)]
    table, offset = b"", 4096
    for identity, code in entries:
        table += struct.pack("<QQQ", offset, len(code), len(identity)) + identity.encode()
    header = b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<Q", len(entries)) + table
    return header.ljust(offset, b"\0") + b"\x7fELF"


@pytest.fixture
def hip(with_library):
    def make(*blobs: bytes, archs: str = HIP_ARCHS, name: str = "vllm") -> Contents:
        variant = {"vllm_target_device": "rocm", "vllm_rocm_archs": archs, "vllm_lane": "rocm"}
        source = device_code(".hip_fatbin", *blobs) + kernels(*ALL)
        return with_library(source, name=name, build="rocm72_h0_0", variant=variant)

    return make


def test_cuda_architectures(findings, cuda):
    assert findings(cuda(count=3)) == {}


@pytest.mark.parametrize(
    ("archs", "finding"),
    [
        ("7.5 9.0a 10.0f 12.1", "CUDA code for 12.1+PTX, which the lane does not list"),
        ("7.5 9.0 10.0f 12.1+PTX", "CUDA code for 9.0a, which the lane does not list"),
        ("7.5 12.1+PTX", "CUDA code for 9.0a, 10.0f, which the lane does not list"),
        ("", "the variant lists no CUDA architectures"),
    ],
)
def test_cuda_architectures_that_are_not_listed(findings, cuda, archs, finding):
    assert findings(cuda(archs)) == {"gpu": finding}


def test_a_listed_cuda_architecture_without_code(findings, cuda):
    found = findings(cuda(f"8.0 {CUDA_ARCHS}", name="vllm"))
    assert found["gpu"] == "no CUDA code for 8.0"
    assert findings(cuda(f"8.0 {CUDA_ARCHS}", name="vllm-flash-attn")) == {}, "may serve some architectures only"


def test_a_cuda_package_without_cuda_code(findings, with_library):
    variant = {"vllm_target_device": "cuda", "vllm_cuda_archs": "9.0a"}
    assert findings(with_library(variant=variant)) == {"gpu": "holds no CUDA code"}


def test_cuda_code_in_a_cpu_package(findings, cuda):
    assert "in a package for another device" in findings(cuda("", device="cpu"))["gpu"]


def test_every_cut_of_a_fat_binary_is_refused_or_read(tmp_path):
    data = (DATA / "scale.fatbin").read_bytes()
    whole = set(cuda_fatbin._entries("x", data))
    assert whole == {"7.5", "9.0a", "10.0f", "12.1", "12.1+PTX"}
    for length in range(0, 400):
        try:
            assert set(cuda_fatbin._entries("x", data[:length])) <= whole
        except cuda_fatbin.BadPackage:
            pass


@pytest.mark.parametrize("form", ["plain", "compressed", "both"])
def test_hip_architectures(findings, hip, form):
    plain, compressed = bundle(*HIP_ARCHS.split()), (DATA / "scale.ccob").read_bytes()
    assert findings(hip(*{"plain": [plain] * 2, "compressed": [compressed], "both": [compressed, plain]}[form])) == {}


def test_hip_architectures_that_differ_from_the_list(findings, hip):
    found = findings(hip(bundle("gfx90a", "gfx1030"), archs="gfx90a gfx942"))
    assert found["gpu"] == "no ROCm code for gfx942; ROCm code for gfx1030, which the lane does not list"


def test_damaged_hip_bundles_are_refused(hip, tmp_path):
    data = (DATA / "scale.ccob").read_bytes()
    for damaged in (data[:20], data[:200], b"CCOB\x09" + data[5:], bundle("gfx90a")[:60]):
        with pytest.raises(hip_bundle.BadPackage, match="damaged HIP offload bundle"):
            hip_bundle.architectures(_with_section(tmp_path, damaged))


def _with_section(tmp_path, blob: bytes) -> Library:
    (tmp_path / "blob").write_bytes(blob)
    command = ["gcc", "-shared", "-nostdlib", "-x", "c", "-", "-o", str(tmp_path / "blob.so")]
    subprocess.run(command, input=device_code(".hip_fatbin", blob), text=True, check=True)
    return Library("blob.so", (tmp_path / "blob.so").read_bytes())
