"""Typed wrappers over this package's native ops, one module a family.

Importing a family loads the native library, and with it torch; importing this package alone does neither.
"""

from __future__ import annotations

import functools
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
LIBRARY = _PACKAGE / "_C.abi3.so"
TARGET_DEVICE = _PACKAGE / "target_device"
"""One word, written where a package was built: the device that its kernels are for."""


def target_device() -> str | None:
    """Device that the installed package was built for; None in a checkout."""
    return TARGET_DEVICE.read_text().strip() if TARGET_DEVICE.exists() else None


def require() -> None:
    """Refuse to go on where this installation has no kernels, before anything is loaded.

    Raises:
        ImportError: the library is missing; the message says which build this is and what to install.
    """
    if LIBRARY.exists():
        return
    device = target_device()
    if device is None:
        raise ImportError(f"vllm's kernels are not built: {LIBRARY} is missing; install them with `pip install .`")
    raise ImportError(
        f"this is vllm's {device!r} build, which holds no kernels and runs no models; install one that does: "
        "conda install 'vllm=*=cpu_*' (any CPU) or 'vllm=*=cuda*' (NVIDIA GPUs)"
    )


@functools.cache
def load() -> None:
    """Load the native library once and register its ops under ``torch.ops._C`` and ``torch.ops._C_cache_ops``.

    Raises:
        ImportError: the library is missing or cannot be loaded.
        ValueError: ``VLLM_CPU_ISA`` names an instruction set that this CPU or build does not offer.
    """
    require()
    import torch

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
