"""Every kernel of the package on the device: the tests of tests/device, which elsewhere run over the emulator.

A process for each file: a kernel that reads or writes outside of its tensors ends the use of a GPU in its process.
"""

import json
import os
import subprocess
import sys

import pytest

from support.checkout import ROOT

FILES = sorted((ROOT / "tests" / "device").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kernels(file, device, table, tmp_path):
    report = tmp_path / "report.json"
    environment = os.environ | {"VLLM_DEVICE_TESTS": device, "VLLM_DEVICE_REPORT": str(report)}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--color=no", str(file)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    ops = json.loads(report.read_text()) if report.exists() else {}
    for op, row in ops.items():
        table.note(op, row["tests"], row["failed"], row["share"])
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
