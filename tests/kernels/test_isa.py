"""Every instruction set computes the same; the choice of one obeys VLLM_CPU_ISA and the CPU."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SELFCHECK = Path(__file__).parent.parent / "support" / "kernel_selfcheck.py"
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="names and emulates x86-64 CPUs")


def run(*command: str, isa: str | None = None) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "VLLM_CPU_ISA"}
    if isa is not None:
        environment["VLLM_CPU_ISA"] = isa
    # Emulated threads are slow to meet at a barrier.
    environment["OMP_NUM_THREADS"] = "2"
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def need(isa: str) -> None:
    """Skip the test where this CPU, or a build with a higher baseline, has no kernels for `isa`."""
    result = run(sys.executable, "-c", "import vllm.kernels.norm", isa=isa)
    if f"VLLM_CPU_ISA is '{isa}', but this CPU and build offer" in result.stderr:
        pytest.skip(f"this CPU and build have no kernels for {isa}")


@x86
@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx"])
def test_forced(isa):
    need(isa)
    result = run(sys.executable, str(SELFCHECK), isa, isa=isa)
    assert result.returncode == 0, result.stderr


@x86
def test_unknown_is_refused_with_the_choices():
    result = run(sys.executable, "-c", "import vllm.kernels.norm", isa="mmx")
    assert result.returncode == 1
    message = "ValueError: VLLM_CPU_ISA is 'mmx', but this CPU and build offer: "
    before, _, choices = result.stderr.splitlines()[-1].partition(message)
    assert before == "" and choices.startswith(("sse2", "avx2", "avx512"))


@x86
@pytest.mark.parametrize(("cpu", "isa"), [("Haswell", "avx2"), ("Nehalem", "sse2")])
def test_emulated(cpu, isa):
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("no qemu-x86_64 on PATH: apt-get install qemu-user-static")
    need(isa)
    # An instruction that the CPU does not have ends the process with SIGILL.
    result = run(emulator, "-cpu", cpu, sys.executable, str(SELFCHECK), isa)
    assert result.returncode == 0, result.stderr


@x86
def test_emulated_cpu_refuses_what_it_lacks():
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("no qemu-x86_64 on PATH: apt-get install qemu-user-static")
    need("sse2")
    result = run(emulator, "-cpu", "Nehalem", sys.executable, "-c", "import vllm.kernels.norm", isa="avx2")
    assert "VLLM_CPU_ISA is 'avx2', but this CPU and build offer: sse2;" in result.stderr
