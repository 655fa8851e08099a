"""cmake/cpu_features.cmake: what compilers can target, and which of Highway's targets are built."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.cmake_run import program, refusal, value

X86 = {"AVX2", "AVX512F", "AVX512BW", "AVX512VL", "AVX512DQ", "AVX512BF16", "AVX512VNNI", "AVXVNNI", "AMXBF16"}
CROSS = {
    "aarch64": ("aarch64-linux-gnu-g++", "NEON;BF16;SVE"),
    "ppc64le": ("powerpc64le-linux-gnu-g++", "VSX;MMA"),
    "s390x": ("s390x-linux-gnu-g++", "VXE"),
}
CHOOSE = "x86_disabled_targets(out)"


def features(folder, compiler: str, processor: str, more: str = "") -> str:
    code = (
        f"set(CMAKE_BINARY_DIR {folder})\nset(CMAKE_CXX_COMPILER {compiler})\n"
        f"set(CMAKE_SYSTEM_PROCESSOR {processor})\n{more}\nfind_cpu_arch()\ndetect_cpu_features()"
    )
    return value(folder, code, "VLLM_CPU_FEATURES")


def x86(can: set[str] = X86, baseline: str = "") -> str:
    lines = [f"set(VLLM_CPU_CAN_{feature} {'ON' if feature in can else 'OFF'})" for feature in X86]
    return "\n".join([*lines, f'set(VLLM_CPU_ARCH x86_64)\nset(VLLM_CPU_BASELINE "{baseline}")\n'])


def disabled(folder, can: set[str] = X86, **variables: str) -> set[str]:
    never = {"HWY_SSSE3", "HWY_SSE4", "HWY_AVX3_DL", "HWY_AVX3_SPR", "HWY_AVX10_2"}
    return set(value(folder, x86(can) + CHOOSE, **variables).split(";")) - never


def extensions(folder, can: set[str] = X86, **variables: str) -> list[str]:
    return value(folder, x86(can) + CHOOSE, "VLLM_CPU_EXTENSIONS", **variables).split(";")


@pytest.mark.parametrize("spelling", ["x86_64", "AMD64"])
@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks the native compiler of x86-64")
def test_native_compiler(tmp_path, spelling):
    assert set(features(tmp_path, program("c++"), spelling).split(";")) == X86


@pytest.mark.parametrize("arch", CROSS)
def test_cross_compiler(tmp_path, arch):
    compiler, expected = CROSS[arch]
    assert features(tmp_path, program(compiler), arch) == expected


def test_clang_for_macos_on_arm(tmp_path):
    """osx-arm64: the same checks by a clang that makes Mach-O objects; nothing is linked, which needs Apple's SDK."""
    compiler = shutil.which("clang++") or program("clang++-19")
    target = "set(APPLE ON)\nset(CMAKE_CXX_COMPILER_TARGET arm64-apple-macos11)"
    assert features(tmp_path, compiler, "arm64", target).startswith("NEON;BF16")
    assert (tmp_path / "CMakeFiles/cpu_features/NEON.cpp.o").read_bytes()[:4] == b"\xcf\xfa\xed\xfe"


def test_macos_names_the_processor_by_its_architectures(tmp_path):
    code = "set(APPLE ON)\nset(CMAKE_OSX_ARCHITECTURES arm64)\nset(CMAKE_SYSTEM_PROCESSOR x86_64)\nfind_cpu_arch()"
    assert value(tmp_path, code, "VLLM_CPU_ARCH") == "aarch64"


def test_old_assembler_means_no_feature(tmp_path):
    """A compiler that takes the flag is not enough: the assembler must know the instruction."""
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *bf16*) exit 1;; esac\nexit 0\n')
    compiler.chmod(0o755)
    assert set(features(tmp_path, str(compiler), "x86_64").split(";")) == X86 - {"AVX512BF16", "AMXBF16"}


def test_defaults(tmp_path):
    assert disabled(tmp_path) == set()


@pytest.mark.parametrize(
    ("variable", "text", "targets"),
    [
        ("VLLM_CPU_DISABLE_AVX512", "1", {"HWY_AVX3", "HWY_AVX3_ZEN4"}),
        ("VLLM_CPU_AVX512BF16", "0", {"HWY_AVX3_ZEN4"}),
    ],
)
def test_overrides(tmp_path, variable, text, targets):
    assert disabled(tmp_path, **{variable: text}) == targets


EXTENSIONS = ["VLLM_CPU_AVX512VNNI", "VLLM_CPU_AVXVNNI", "VLLM_CPU_AMXBF16"]


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions_are_built_where_the_compiler_can(tmp_path, name):
    assert extensions(tmp_path) == EXTENSIONS
    others = [other for other in EXTENSIONS if other != name]
    assert extensions(tmp_path, X86 - {name.removeprefix("VLLM_CPU_")}) == others
    assert extensions(tmp_path, **{name: "0"}) == others


def test_without_avx512_its_extensions_are_not_built(tmp_path):
    assert extensions(tmp_path, VLLM_CPU_DISABLE_AVX512="1") == ["VLLM_CPU_AVXVNNI"]


def test_compiler_without_bf16(tmp_path):
    assert "HWY_AVX3_ZEN4" in disabled(tmp_path, X86 - {"AVX512BF16"})


def test_compiler_without_part_of_avx512(tmp_path):
    assert {"HWY_AVX3", "HWY_AVX3_ZEN4"} <= disabled(tmp_path, X86 - {"AVX512DQ"})


@pytest.mark.parametrize(
    ("code", "variables", "message"),
    [
        (x86(X86 - {"AMXBF16"}), {"VLLM_CPU_AMXBF16": "1"}, "VLLM_CPU_AMXBF16 is on, but"),
        (x86(), {"VLLM_CPU_AVX512VNNI": "maybe"}, "VLLM_CPU_AVX512VNNI is 'MAYBE': set it to 1 or 0"),
        (x86(), {"VLLM_CPU_AVX512VNNI": "1", "VLLM_CPU_DISABLE_AVX512": "1"}, "AVX-512 is off"),
        (x86(baseline="x86-64-v4"), {"VLLM_CPU_DISABLE_AVX512": "1"}, "x86-64-v4, which requires AVX-512: unset one"),
    ],
)
def test_contradictions_are_refused(tmp_path, code, variables, message):
    assert message in refusal(tmp_path, code + CHOOSE, **variables)


@pytest.mark.parametrize(("level", "lowest"), [("x86-64-v3", "AVX2"), ("x86-64-v4", "AVX3")])
def test_baseline_drops_lower_targets(tmp_path, level, lowest):
    """Highway, given the chosen flags, counts the level as what every CPU has."""
    hwy = tmp_path / "targets.cpp"
    include = highway_include()
    options = value(tmp_path, x86(baseline=level) + "choose_cpu_targets()\nset(out ${VLLM_CPU_OPTIONS})").split(";")
    definitions = value(tmp_path, x86(baseline=level) + 'choose_cpu_targets()\nset(out "${VLLM_CPU_DEFINITIONS}")')
    hwy.write_text(
        f"#include <hwy/detect_targets.h>\nstatic_assert(HWY_STATIC_TARGET == HWY_{lowest});\n"
        f"static_assert((HWY_TARGETS & ~(HWY_{lowest} | (HWY_{lowest} - 1))) == 0);\n"
    )
    flags = [f"-D{definition}" for definition in definitions.split(";")]
    command = [program("c++"), "-fsyntax-only", f"-I{include}", *options, *flags, str(hwy)]
    subprocess.run(command, check=True)


def highway_include() -> str:
    """Folder of Highway's headers in the environment of the tests, or in CMAKE_PREFIX_PATH."""
    for prefix in (sys.prefix, *os.environ.get("CMAKE_PREFIX_PATH", "").split(os.pathsep)):
        if (Path(prefix) / "include/hwy/detect_targets.h").is_file():
            return f"{prefix}/include"
    pytest.skip("Highway's headers are not in this environment")


@pytest.mark.parametrize(("arch", "level"), [("x86_64", "x86-64-v2"), ("aarch64", "x86-64-v3")])
def test_unknown_baseline_is_refused(tmp_path, arch, level):
    message = refusal(tmp_path, f"set(VLLM_CPU_ARCH {arch})\nchoose_cpu_targets()", VLLM_CPU_BASELINE=level)
    assert f"VLLM_CPU_BASELINE is '{level}' on {arch}: on x86_64 it can be x86-64-v3 or x86-64-v4" in message
