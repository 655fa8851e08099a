"""The ops that layers and sampling call: this package's kernels for the CPU, or torch's own ops on any device.

Both have the names and arguments of this folder's wrappers. A layer takes its ops from an `OpSet` when it is built.
Importing this module loads neither torch nor the native library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from vllm.exceptions import VLLMValidationError

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
    "rms_norm", "fused_add_rms_norm", "silu_and_mul", "paged_attention_varlen", "cuda_graphs",
)  # fmt: skip
"""Kernels that exist for GPUs under the names and with the arguments of the CPU's, and the replay of captured steps."""


@dataclass(frozen=True)
class OpSet:
    """One implementation of each op.

    Attributes:
        recordable: whether calls can be replayed (layers/replay.py).
        screens_heads: whether vllm.kernels.screened_head reads these packed weights.
        takes_codes: whether linear weights may be packed as codes; else they are dequantised while they are loaded.
    """

    recordable: bool
    screens_heads: bool
    takes_codes: bool
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
    return OpSet(recordable=True, screens_heads=True, takes_codes=True, **_functions(frozenset(_MODULES)))


def torch_ops(own_kernels: frozenset[str] = frozenset()) -> OpSet:
    """torch's ops, but for those of `own_kernels`, which torch's dispatcher takes to the kernel of the device."""
    return OpSet(recordable=False, screens_heads=False, takes_codes=False, **_functions(own_kernels))


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


def _functions(own: frozenset[str]) -> dict[str, Callable]:
    return {
        name: getattr(import_module(f"vllm.kernels.{'' if name in own else 'torch_ops.'}{module}"), name)
        for name, module in _MODULES.items()
    }
