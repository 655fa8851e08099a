"""AMX is used by default where a trial of it is right: over the emulated AMX, which can be told to be wrong."""

import os
import subprocess
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.device_emulator import cxx_compiler

SOURCES = ("csrc/core/amx.cpp", "csrc/cpu/amx_tile.cpp", "csrc/cpu/amx_trial.cpp")
PROGRAM = """
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include "core/isa_name.h"
#include "cpu/amx_trial.h"
namespace vllm {
std::string_view WantedCpuIsa() {
  const char* wanted = std::getenv("VLLM_CPU_ISA");
  return wanted == nullptr ? "" : wanted;
}
const char* CpuIsaName() { return "avx512_bf16"; }
}  // namespace vllm
int main(int count, char**) {
  if (count > 1) std::signal(SIGCHLD, SIG_IGN);
  std::puts(vllm::UseAmx() ? "amx" : "no amx");
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("amx_trial")
    main = folder / "main.cpp"
    main.write_text(PROGRAM)
    flags = ["-std=c++17", "-O1", "-DVLLM_CPU_AMXBF16", "-DVLLM_CPU_AMX_EMULATED"]
    includes = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests' / 'cross'}"]
    sources = [str(main), *(str(ROOT / source) for source in SOURCES)]
    subprocess.run([cxx_compiler(), *flags, *includes, *sources, "-o", str(folder / "trial")], check=True)
    return folder / "trial"


def answer(program: Path, *arguments: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "VLLM_CPU_ISA"}
    command = [str(program), *arguments]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True).stdout.strip()


def test_chosen_where_the_trial_is_right(program):
    assert answer(program) == "amx"
    assert answer(program, "who ignores SIGCHLD") == "amx"


@pytest.mark.parametrize("fault", ["sums", "signal"])
def test_not_chosen_where_it_is_wrong_or_ends_in_a_signal(program, fault):
    assert answer(program, VLLM_AMX_FAULT=fault) == "no amx"


def test_a_named_instruction_set_is_obeyed(program):
    assert answer(program, VLLM_CPU_ISA="avx512_bf16") == "no amx"
    assert answer(program, VLLM_CPU_ISA="amx", VLLM_AMX_FAULT="sums") == "amx"
