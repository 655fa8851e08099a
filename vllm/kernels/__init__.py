"""Typed wrappers over this package's native ops, one module a family.

Importing a family loads the native library, and with it torch; importing this package alone does neither.
"""

from __future__ import annotations

import functools
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / "_C.abi3.so"


@functools.cache
def load() -> None:
    """Load the native library once and register its ops under ``torch.ops._C`` and ``torch.ops._C_cache_ops``.

    Raises:
        ImportError: the library is missing or cannot be loaded.
        ValueError: ``VLLM_CPU_ISA`` names an instruction set that this CPU or build does not offer.
    """
    import torch

    if not LIBRARY.exists():
        raise ImportError(f"vllm's kernels are not built: {LIBRARY} is missing; install them with `pip install .`")
    try:
        torch.ops.load_library(LIBRARY)
    except OSError as error:
        raise ImportError(f"vllm's kernels cannot be loaded ({error}); they need torch >= 2.10") from error
    try:
        torch.ops._C.cpu_isa.default()
    except RuntimeError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def cpu_isa() -> str:
    """Instruction set that CPU kernels run with, as ``VLLM_CPU_ISA`` spells it; unless it names one, the best."""
    import torch

    load()
    return torch.ops._C.cpu_isa.default()
