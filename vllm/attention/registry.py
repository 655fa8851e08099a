"""Attention backends by vLLM's names. No torch here: command lines are checked with it."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.platforms.interface import Platform

# A module a backend: what it stores and how it attends. CPU_ATTN runs on the CPU, TORCH_SDPA wherever torch does.
_MODULES = {
    "CPU_ATTN": "vllm.attention.packed",
    "FLASH_ATTN": "vllm.attention.flash",
    "TORCH_SDPA": "vllm.attention.sdpa",
}
BACKENDS = tuple(_MODULES)
FLASH_BLOCK_SIZE = 256
"""Tokens of a KV cache block that FLASH_ATTN reads."""
_FLASH_TORCH = (2, 13)  # the first release whose flash attention reads pages


def choose_backend(
    given: str | None, platform: Platform, dtype: str, own_cache_dtype: bool, block_size: int | None
) -> str:
    """`given`, checked, or the best of the platform for a model of this dtype.

    Args:
        own_cache_dtype: whether the KV cache holds something other than the dtype.
        block_size: of the KV cache; None where it is free.

    Raises:
        VLLMValidationError: there is no such backend, or it cannot do this; the message says what can.
    """
    name = None if given is None else given.upper()
    if name is not None and name not in _MODULES:
        raise VLLMValidationError(
            f"attention_backend={given!r} is not accepted: give one of {', '.join(BACKENDS)}", "attention_backend"
        )
    if name not in (None, "FLASH_ATTN"):
        return name
    if name is None and platform.is_cpu():
        return "CPU_ATTN"
    missing = _missing_for_flash(platform, dtype, own_cache_dtype, block_size)
    if name is not None and missing is not None:
        other = "CPU_ATTN" if platform.is_cpu() else "TORCH_SDPA"
        raise VLLMValidationError(
            f"attention_backend={given!r} is not accepted: it needs {missing}; give that, or {other}",
            "attention_backend",
        )
    return "FLASH_ATTN" if missing is None else "TORCH_SDPA"


def _missing_for_flash(platform: Platform, dtype: str, own_cache_dtype: bool, block_size: int | None) -> str | None:
    """What FLASH_ATTN would need and has not; None: nothing."""
    if not platform.is_cuda():
        return "an NVIDIA GPU"
    if dtype not in ("bfloat16", "float16"):
        return "dtype bfloat16 or float16"
    if own_cache_dtype:
        return "a KV cache of the model's dtype (kv_cache_dtype auto)"
    if block_size not in (None, FLASH_BLOCK_SIZE):
        return f"block_size {FLASH_BLOCK_SIZE}"
    if tuple(map(int, version("torch").split(".")[:2])) < _FLASH_TORCH:
        return "torch {}.{} or later".format(*_FLASH_TORCH)
    return None


def backend_module(name: str) -> Any:
    """The backend's module, with `allocate(attention, num_blocks, block_size, format, device) -> LayerCache`."""
    return importlib.import_module(_MODULES[name])
