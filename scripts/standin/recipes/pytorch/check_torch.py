"""torch computes, sees no GPU runtime, and shares the environment's OpenMP and C++ run-time libraries."""

import sys
from pathlib import Path

import torch
import torch.utils.cpp_extension

assert torch.version.cuda is None and not torch.cuda.is_available()
matrix = torch.randn(256, 256)
torch.testing.assert_close(matrix @ torch.eye(256), matrix)
assert torch.get_num_threads() >= 1
assert Path(torch.__cached__).read_bytes()[4] == 1, "bytecode of the package, which is not held against times"
assert (Path(torch.utils.cmake_prefix_path) / "Torch" / "TorchConfig.cmake").exists()
assert (Path(torch.__file__).parent / "include/torch/csrc/stable/library.h").exists()
assert (Path(torch.__file__).parent / "include/ATen/ATen.h").exists()

mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
for library in ("libgomp", "libstdc++", "libgcc_s", "libtorch_cpu.so"):
    copies = {str(Path(path).resolve()) for path in mapped if Path(path).name.startswith(library)}
    assert len(copies) == 1 and next(iter(copies)).startswith(sys.prefix), (library, copies)
