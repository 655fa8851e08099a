"""The CPU kernels are there for every instruction set that the package promises.

The libraries are disassembled: an instruction that only one instruction set has shows that its kernels were compiled.
That nothing uses more than a CPU has cannot be seen this way; tests under emulators show it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from tooling.package_checks.elf import Library
from tooling.package_checks.package import Package
from tooling.package_checks.registry import Skipped, check

PACKAGE = "vllm"
"""The package that holds the CPU kernels, also where it holds kernels for GPUs."""

X86_64 = {
    "sse2": "SSE",
    "avx2": "AVX2",
    "avx2_vnni": "AVX_VNNI",
    "avx512": "AVX512F",
    "avx512_bf16": "AVX512_BF16",
    "amx": "AMX_BF16",
}
"""Instruction sets, as VLLM_CPU_ISA names them, worst first, and the CPUID feature (in iced-x86's words) that shows
their kernels."""

AARCH64 = {
    "neon": (0xBFA0FC00, 0x0E20CC00),  # FMLA of vectors
    "sve": (0xFF3FFC10, 0x2518E000),  # PTRUE
}
"""Instruction sets and (mask, value) of an instruction of 32 bits that only they have, after the "Arm A64 Instruction
Set Architecture"."""

PROMISED = {
    ("linux-64", ""): {"sse2", "avx2", "avx2_vnni", "avx512", "avx512_bf16", "amx"},
    ("linux-64", "x86-64-v3"): {"avx2", "avx2_vnni", "avx512", "avx512_bf16", "amx"},
    ("linux-64", "x86-64-v4"): {"avx512", "avx512_bf16", "amx"},
    ("linux-aarch64", ""): {"neon", "sve"},
}
"""Instruction sets by platform and baseline (`vllm_cpu_baseline`)."""

AVX512 = {"avx512", "avx512_bf16", "amx"}
DISABLE_AVX512 = "VLLM_CPU_DISABLE_AVX512"
"""What a build promises no kernels for where this variable asks it to leave them out."""

SLIM = {"x86-64-v3": {"sse2"}, "x86-64-v4": {"sse2"}}
"""What a build with a higher baseline leaves out."""


@check("instructions", "holds CPU kernels for every instruction set that its lane promises")
def find(package: Package) -> Iterator[str]:
    """Instruction sets without kernels, and kernels that the baseline makes useless."""
    baseline = str(package.variant.get("vllm_cpu_baseline", ""))
    promised = PROMISED.get((package.subdir, baseline))
    if package.name != PACKAGE or promised is None:
        return
    if os.environ.get(DISABLE_AVX512, "").upper() in ("1", "ON", "YES", "TRUE"):
        promised = promised - AVX512
    found = set().union(*map(instruction_sets, package.libraries))
    what = f"baseline {baseline}" if baseline else f"a build for every {package.subdir}"
    for missing in sorted(promised - found):
        yield f"no kernel for {missing}, which {what} promises"
    for useless in sorted(SLIM.get(baseline, set()) & found):
        yield f"kernels for {useless}, which {what} leaves out"


def instruction_sets(library: Library) -> set[str]:
    """Those that `library` has kernels for; none for machines that this file does not know."""
    readers = {"EM_X86_64": _x86_64, "EM_AARCH64": _aarch64}
    read = readers.get(library.machine, lambda code: set())
    return set().union(*(read(code) for _, code in library.code))


def _aarch64(code: bytes) -> set[str]:
    words = [word for (word,) in struct.iter_unpack("<I", code[: len(code) // 4 * 4])]
    return {name for name, (mask, value) in AARCH64.items() if any(word & mask == value for word in words)}


def _x86_64(code: bytes) -> set[str]:
    try:
        from iced_x86 import CpuidFeature, Decoder
    except ImportError:
        raise Skipped("x86-64 code cannot be read here: there is no iced-x86 for this machine") from None
    wanted = {getattr(CpuidFeature, feature): name for name, feature in X86_64.items()}
    found: set[str] = set()
    for instruction in Decoder(64, code):
        # An instruction of a later set may need an earlier one's feature, too: it is of the later one.
        needed = instruction.cpuid_features()
        best = next((name for feature, name in reversed(wanted.items()) if feature in needed), None)
        if best and best not in found and _is_packed(instruction):
            found.add(best)
    return found


def _is_packed(instruction) -> bool:
    """SSE's scalar instructions and moves are in every x86-64 program; packed multiplication is in kernels only."""
    from iced_x86 import CpuidFeature, Mnemonic

    return CpuidFeature.SSE not in instruction.cpuid_features() or instruction.mnemonic == Mnemonic.MULPS
