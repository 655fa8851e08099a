"""Linear layers over weights that are packed once: ``out = input @ weight.T + bias``, sums in f32.

Tensors share one dtype (bf16, f16 or f32). An output's bits depend on its row of the input and its row of the weight
alone, not on the batch or the number of threads. A tensor that does not fit raises RuntimeError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_pack_linear_weight = torch.ops._C.pack_linear_weight.default
_pack_gate_up_weight = torch.ops._C.pack_gate_up_weight.default
_linear_packed = torch.ops._C.linear_packed.default
_linear_packed_silu_and_mul = torch.ops._C.linear_packed_silu_and_mul.default
_gather_packed_rows = torch.ops._C.gather_packed_rows.default

PANEL_WIDTH = 32  # rows of a weight that lie side by side in the packed tensor


def pack_linear_weight(weight: Tensor) -> Tensor:
    """Pack ``weight`` ``[n, k]``, rows contiguous. The result is opaque, and the same for every instruction set."""
    return _pack_linear_weight(weight)


def pack_gate_up_weight(weight: Tensor) -> Tensor:
    """Pack a merged projection ``[2 * n, k]``, gate rows before up rows, for ``linear_packed_silu_and_mul``."""
    return _pack_gate_up_weight(weight)


def linear_packed(out: Tensor, input: Tensor, packed: Tensor, bias: Tensor | None = None) -> None:
    """Write ``input @ weight.T + bias`` to ``out``.

    ``input`` is ``[rows, k]`` and ``out`` ``[rows, n]``, each with any distance between rows; ``bias`` is ``[n]``.
    ``out`` has the dtype of ``input`` or is f32.
    """
    _linear_packed(out, input, packed, bias)


def linear_packed_silu_and_mul(out: Tensor, input: Tensor, packed: Tensor) -> None:
    """Write ``silu(input @ gate.T) * (input @ up.T)`` to ``out`` ``[rows, n]``, without rounding in between."""
    _linear_packed_silu_and_mul(out, input, packed)


def gather_packed_rows(out: Tensor, packed: Tensor, ids: Tensor) -> None:
    """Write row ``ids[i]`` of the weight behind ``packed`` to ``out[i]``: a tied embedding without a second copy.

    ``ids`` is i64 ``[count]``, ``out`` ``[count, k]``. Ids that only padding follows (``n`` up to the next multiple of
    ``PANEL_WIDTH``) read as zero; any other id outside ``[0, n)`` raises.
    """
    _gather_packed_rows(out, packed, ids)


def _packed_like(weight: Tensor, panels: int) -> Tensor:
    k = weight.shape[1]
    if weight.dtype == torch.bfloat16:
        return weight.new_empty((panels, (k + 1) // 2, PANEL_WIDTH, 2))
    return weight.new_empty((panels, k, PANEL_WIDTH))


@torch.library.register_fake("_C::pack_linear_weight")
def _(weight: Tensor) -> Tensor:
    return _packed_like(weight, -(-weight.shape[0] // PANEL_WIDTH))


@torch.library.register_fake("_C::pack_gate_up_weight")
def _(weight: Tensor) -> Tensor:
    return _packed_like(weight, -(-(weight.shape[0] // 2) // (PANEL_WIDTH // 2)))


@torch.library.register_fake("_C::linear_packed")
def _(out: Tensor, input: Tensor, packed: Tensor, bias: Tensor | None) -> None:
    return None


@torch.library.register_fake("_C::linear_packed_silu_and_mul")
def _(out: Tensor, input: Tensor, packed: Tensor) -> None:
    return None


@torch.library.register_fake("_C::gather_packed_rows")
def _(out: Tensor, packed: Tensor, ids: Tensor) -> None:
    return None
