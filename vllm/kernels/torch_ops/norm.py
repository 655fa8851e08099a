"""RMS normalization."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def rms_norm(out: Tensor, input: Tensor, weight: Tensor | None, epsilon: float) -> None:
    out.copy_(F.rms_norm(input, input.shape[-1:], weight, epsilon))


def fused_add_rms_norm(input: Tensor, residual: Tensor, weight: Tensor | None, epsilon: float) -> None:
    residual += input
    rms_norm(input, residual, weight, epsilon)
