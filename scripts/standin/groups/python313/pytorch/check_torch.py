"""torch computes on the CPU, and takes OpenMP's and C++'s run-time libraries from the environment."""

import sys
from pathlib import Path

import torch

assert sys.version_info[:2] == (3, 13) and not torch.cuda.is_available()
matrix = torch.randn(256, 256)
torch.testing.assert_close(matrix @ torch.eye(256), matrix)
mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
for library in ("libgomp", "libstdc++", "libgcc_s", "libtorch_cpu.so"):
    copies = {str(Path(path).resolve()) for path in mapped if Path(path).name.startswith(library)}
    assert len(copies) == 1 and next(iter(copies)).startswith(sys.prefix), (library, copies)
