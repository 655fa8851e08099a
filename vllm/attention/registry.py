"""Attention backends by vLLM's names. No torch here: command lines are checked with it."""

from __future__ import annotations

import importlib
from typing import Any

from vllm.exceptions import VLLMValidationError

# A module a backend: what it stores and how it attends. CPU_ATTN runs on the CPU, TORCH_SDPA wherever torch does.
_MODULES = {"CPU_ATTN": "vllm.attention.packed", "TORCH_SDPA": "vllm.attention.sdpa"}
BACKENDS = tuple(_MODULES)


def choose_backend(given: str | None, device_type: str) -> str:
    """`given`, checked, or the device's own. Raises VLLMValidationError with the list of what there is."""
    if given is None:
        return "CPU_ATTN" if device_type == "cpu" else "TORCH_SDPA"
    if given.upper() not in _MODULES:
        raise VLLMValidationError(
            f"attention_backend={given!r} is not accepted: give one of {', '.join(BACKENDS)}", "attention_backend"
        )
    return given.upper()


def backend_module(name: str) -> Any:
    """The backend's module, with `allocate(attention, num_blocks, block_size, format, device) -> LayerCache`."""
    return importlib.import_module(_MODULES[name])
