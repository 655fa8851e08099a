"""Native modules that packages beside ``vllm`` bring: ``vllm-flash-attn`` and so on."""

from __future__ import annotations

import functools

from vllm.kernels import _PACKAGE


@functools.cache
def problem(module: str, package: str, builds: str = "CUDA") -> str | None:
    """Load a native module once; None, or one line that says why it cannot be used.

    Args:
        module: below the package's folder and without its suffix, as in ``"vllm_flash_attn/_vllm_fa2_C"``.
        package: the conda package that holds it.
        builds: of vllm and of torch that it belongs to.
    """
    library = _PACKAGE / f"{module}.abi3.so"
    if not library.exists():
        return f"{library.name} is not installed; it comes with {builds} builds of vllm: conda install {package}"
    import torch

    try:
        torch.ops.load_library(library)
    except OSError as error:
        return f"{library.name} cannot be loaded ({error}); it needs the {builds} build of torch >= 2.10"
    return None
