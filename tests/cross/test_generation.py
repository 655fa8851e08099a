"""The engine with the real torch on emulated x86-64 CPUs answers as it does here with their instruction sets."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "generate.py"


def generate(folder: Path, *emulator: str, isa: str = "") -> str:
    """Instruction set and tokens. `isa` is empty where the CPU decides."""
    environment = os.environ | {"VLLM_CPU_ISA": isa, "OMP_NUM_THREADS": "2"}
    command = [*emulator, sys.executable, str(SCRIPT), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="emulates x86-64 CPUs")
@pytest.mark.parametrize(("cpu", "isa"), [("Haswell", "avx2"), ("Nehalem", "sse2")])
def test_same_answers(cpu, isa, tmp_path):
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("no qemu-x86_64 on PATH: apt-get install qemu-user-static")
    here = generate(tmp_path / "here", isa=isa)
    assert here.startswith(isa)
    assert generate(tmp_path / "emulated", emulator, "-cpu", cpu) == here
