"""RMS normalization over the last dimension: ``x / sqrt(mean(x ** 2) + epsilon) * weight``, sums in f32.

Tensors share one dtype (f32, bf16 or f16). Rows must be contiguous; leading dimensions may have any strides that merge
into three or fewer. ``weight`` is ``[hidden]``, ``[input.shape[0], hidden]``, or None for factors of 1. A tensor
that does not fit raises RuntimeError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_rms_norm = torch.ops._C.rms_norm.default
_fused_add_rms_norm = torch.ops._C.fused_add_rms_norm.default


def rms_norm(out: Tensor, input: Tensor, weight: Tensor | None, epsilon: float) -> None:
    """Write the norm of ``input`` ``[..., hidden]`` to ``out``, of the same shape; they may be the same tensor."""
    _rms_norm(out, input, weight, epsilon)


def fused_add_rms_norm(input: Tensor, residual: Tensor, weight: Tensor | None, epsilon: float) -> None:
    """``residual += input``, rounded to the dtype, then ``input = rms_norm(residual)``: ``[..., hidden]``, in place."""
    _fused_add_rms_norm(input, residual, weight, epsilon)


@torch.library.register_fake("_C::rms_norm")
def _(result: Tensor, input: Tensor, weight: Tensor | None, epsilon: float) -> None:
    return None


@torch.library.register_fake("_C::fused_add_rms_norm")
def _(input: Tensor, residual: Tensor, weight: Tensor | None, epsilon: float) -> None:
    return None
