"""The ops that layers and sampling call: this package's kernels for the CPU, or torch's own ops on any device.

Both have the names and arguments of this folder's wrappers. A layer takes its ops from an `OpSet` when it is built.
Importing this module loads neither torch nor the native library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vllm.exceptions import VLLMValidationError

if TYPE_CHECKING:
    import torch

# Where each op is found, in this folder and in torch_ops/.
_MODULES = {
    "pack_linear_weight": "linear",
    "pack_gate_up_weight": "linear",
    "linear_packed": "linear",
    "linear_packed_silu_and_mul": "linear",
    "gather_packed_rows": "linear",
    "silu_and_mul": "activation",
    "rms_norm": "norm",
    "fused_add_rms_norm": "norm",
    "apply_penalties": "sampling",
    "sample_tokens": "sampling",
}
PROVEN_ON_DEVICE: frozenset[str] = frozenset()
"""What a GPU runs of this package by default: names of `DEVICE_CHOICES` with a passing row in docs/gpu.md."""

DEVICE_CHOICES = (
    "rms_norm", "fused_add_rms_norm", "silu_and_mul", "paged_attention_varlen", "scaled_mm", "marlin_gemm",
    "cuda_graphs",
)  # fmt: skip
"""Kernels that exist for GPUs under the names and with the arguments of the CPU's; what keeps weights as codes there;
and the replay of captured steps."""


@dataclass(frozen=True)
class OpSet:
    """One implementation of each op.

    Attributes:
        recordable: whether calls can be replayed (layers/replay.py).
        screens_heads: whether vllm.kernels.screened_head reads these packed weights.
        pack_quantized_weight: packs a linear weight's codes for `linear_packed`, and gives None where it cannot; such
            weights are dequantised while they are loaded.
    """

    recordable: bool
    screens_heads: bool
    pack_quantized_weight: Callable
    pack_linear_weight: Callable
    pack_gate_up_weight: Callable
    linear_packed: Callable
    linear_packed_silu_and_mul: Callable
    gather_packed_rows: Callable
    silu_and_mul: Callable
    rms_norm: Callable
    fused_add_rms_norm: Callable
    apply_penalties: Callable
    sample_tokens: Callable


def native_ops() -> OpSet:
    """This package's kernels for the CPU."""
    pack = import_module("vllm.kernels.quantized_linear").pack_quantized_weight
    ops = _functions(frozenset(_MODULES))
    return OpSet(recordable=True, screens_heads=True, pack_quantized_weight=pack, **ops)


def torch_ops(own_kernels: frozenset[str] = frozenset(), dtype: torch.dtype | None = None) -> OpSet:
    """torch's ops, but for those of `own_kernels`, which torch's dispatcher takes to the kernel of the device.

    dtype: of inputs of linear layers, where weights may be codes.
    """
    packers: list[Callable] = []
    if "scaled_mm" in own_kernels:
        packers.append(import_module("vllm.kernels.scaled_weight").pack_quantized_weight)
    if "marlin_gemm" in own_kernels:
        packers.append(partial(import_module("vllm.kernels.marlin").pack_quantized_weight, dtype=dtype))
    packers.append(partial(import_module("vllm.kernels.torch_ops.scaled_weight").pack_quantized_weight, dtype=dtype))
    pack = partial(_first_that_packs, packers)
    ops = _functions(own_kernels)
    return OpSet(recordable=False, screens_heads=False, pack_quantized_weight=pack, **ops)


def device_kernels(given: str | None) -> frozenset[str]:
    """What VLLM_DEVICE_KERNELS asks for: "all", or names of DEVICE_CHOICES with commas; None: what is proven."""
    if given is None:
        return PROVEN_ON_DEVICE
    names = frozenset(DEVICE_CHOICES if given == "all" else filter(None, map(str.strip, given.split(","))))
    if unknown := sorted(names - set(DEVICE_CHOICES)):
        raise VLLMValidationError(
            f"VLLM_DEVICE_KERNELS={given!r} is not accepted: {unknown[0]!r} is none of {', '.join(DEVICE_CHOICES)}; "
            "give some of these with commas between them, or all",
            "VLLM_DEVICE_KERNELS",
        )
    return names


def _first_that_packs(packers: list[Callable], *weight: Any, **options: Any) -> Any:
    """What the first of `packers` that takes the weight makes of it; None where none does."""
    made = (pack(*weight, **options) for pack in packers)
    return next((packed for packed in made if packed is not None), None)


def _functions(own: frozenset[str]) -> dict[str, Callable]:
    return {
        name: getattr(import_module(f"vllm.kernels.{'' if name in own else 'torch_ops.'}{module}"), name)
        for name, module in _MODULES.items()
    }
