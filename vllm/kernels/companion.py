"""Native modules that packages beside ``vllm`` bring: ``vllm-flash-attn`` and so on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

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


@functools.cache
def ops(module: str, package: str, register_fakes: Callable[[str], None], builds: str = "CUDA") -> Any:
    """The module's ``torch.ops`` namespace, loaded, of which torch.compile knows what ``register_fakes`` tells it.

    Raises:
        ImportError: with the line that `problem` gives.
    """
    reason = problem(module, package, builds)
    if reason:
        raise ImportError(reason)
    import torch

    namespace = module.rpartition("/")[2]
    register_fakes(namespace)
    return getattr(torch.ops, namespace)
