"""Linear layers. A packed weight is the weight itself, `[n, k]`, or codes, which bring their own product; a merged
projection has gate rows before up rows.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Codes(Protocol):
    """A weight [n, k] that is not stored as floats of the model's dtype."""

    def multiply(self, input: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """``input @ weight.T + bias``, in `out` where it is given."""


def pack_linear_weight(weight: Tensor) -> Tensor:
    """A copy: what is given may be a view of a file, or memory that serves the next layer, too."""
    return weight.clone(memory_format=torch.contiguous_format)


pack_gate_up_weight = pack_linear_weight


def linear_packed(out: Tensor, input: Tensor, packed: Tensor | Codes, bias: Tensor | None = None) -> None:
    """``out`` of another dtype than ``input`` receives sums that were rounded to that of ``input`` before."""
    if out.dtype != input.dtype:
        out.copy_(_linear(input, packed, bias))
    elif not isinstance(packed, Tensor):
        packed.multiply(input, bias, out)
    elif bias is None:
        torch.mm(input, packed.t(), out=out)
    else:
        torch.addmm(bias, input, packed.t(), out=out)


def linear_packed_silu_and_mul(out: Tensor, input: Tensor, packed: Tensor | Codes) -> None:
    """Both projections are rounded to the dtype before the activation."""
    gate, up = _linear(input, packed).chunk(2, dim=-1)
    torch.mul(F.silu(gate), up, out=out)


def _linear(input: Tensor, packed: Tensor | Codes, bias: Tensor | None = None) -> Tensor:
    return F.linear(input, packed, bias) if isinstance(packed, Tensor) else packed.multiply(input, bias)


def gather_packed_rows(out: Tensor, packed: Tensor, ids: Tensor) -> None:
    torch.index_select(packed, 0, ids, out=out)
