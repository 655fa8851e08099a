"""What benchmarks/kernel_resources.py reads out of ptxas."""

import shutil
import subprocess
import sys

import pytest

from support.checkout import ROOT

SCRIPT = ROOT / "benchmarks" / "kernel_resources.py"
LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z5firstPf' for 'sm_90a'
ptxas info    : Function properties for _Z5firstPf
    16 bytes stack frame, 12 bytes spill stores, 100 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 16 bytes cumulative stack size, 1288 bytes smem
ptxas info    : Compile time = 1.000 ms
ptxas info    : Compiling entry function '_Z6secondPf' for 'sm_90a'
ptxas info    : Function properties for _Z6secondPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 17 registers, used 0 barriers
"""


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)


def test_kernels_of_a_log(tmp_path):
    log = tmp_path / "build.log"
    log.write_text(LOG)
    done = run("--log", str(log), "--max-spill", "100")
    assert done.returncode == 0, done.stderr
    first, second = (line.split()[:5] for line in done.stdout.splitlines()[1:])
    # 65,536 registers hold 512 threads of 128, and 2,730 of 24, more than the 2,048 that an SM runs.
    assert (first, second) == (["128", "512", "100", "16", "1288"], ["17", "2048", "0", "0", "0"])


def test_more_spill_than_allowed_fails(tmp_path):
    log = tmp_path / "build.log"
    log.write_text(LOG)
    done = run("--log", str(log), "--max-spill", "99")
    assert done.returncode == 1
    assert "1 kernels spill more than 99 bytes" in done.stderr


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not on PATH: CUDA kernels cannot be compiled")
def test_a_real_source():
    done = run(str(ROOT / "csrc/device/merge_states.cu"), "--max-spill", "0")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + 6


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not on PATH: CUDA kernels cannot be compiled")
def test_what_is_for_one_architecture_alone_is_left_out():
    done = run(str(ROOT / "csrc/hopper/scaled_mm.cu"), "--arch", "8.0")
    assert done.returncode == 0, done.stderr
    assert "left out csrc/hopper, which takes --arch 9.0a and CUTLASS's headers" in done.stderr
