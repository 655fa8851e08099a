"""The engine with the real torch on an emulated x86-64 CPU answers as it does here with its instruction set."""

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
def test_same_answers(tmp_path):
    """Older ones are emulated for kernels alone (tests/kernels/test_isa.py): torch takes half a minute there."""
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("no qemu-x86_64 on PATH: apt-get install qemu-user-static")
    here = generate(tmp_path / "here", isa="avx2")
    assert here.startswith("avx2")
    assert generate(tmp_path / "emulated", emulator, "-cpu", "Haswell") == here
