"""The likeliest tokens by an output head without all logits, exactly as the full logits would give them.

An 8-bit copy of the head says which logits may be the largest, by a bound on what rounding the weight and the input can
change (Cauchy-Schwarz: ``|x w - x' w'| <= |x| |w - w'| + |x - x'| |w'|``); only those are computed. The copy is half as
large as a head in 16 bits, so that a step reads half of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load
from vllm.kernels.linear import PANEL_WIDTH

load()
_screen_head = torch.ops._C.screen_head.default
_screened_argmax = torch.ops._C.screened_argmax.default


def screen_head(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Make the screen of ``weight`` ``[n, k]`` of bf16, f16 or f32, rows contiguous.

    Returns its 8-bit copy (opaque, 1-D u8, the same for every instruction set) and, f32 ``[panels, 2]``, the largest
    norms of each 32 rows' rounding errors and of the rounded rows. RuntimeError where the weight is of another kind.
    """
    return _screen_head(weight)


def screened_argmax(input: Tensor, packed: Tensor, screen: Tensor, norms: Tensor) -> tuple[Tensor, Tensor, int]:
    """For each row of ``input`` ``[rows, k]`` the argmax of ``linear_packed`` with f32 ``out``, and that logit.

    Tokens are i64 ``[rows]``, logits f32 ``[rows]``. Of equal logits it is the first; a row that is not finite gives
    token 0 or one whose logit is infinite. `screen` and
    `norms` must be `screen_head`'s of the weight that `packed` was made of. The number says how many panels of 32
    logits were computed, for each row that needed one.
    """
    tokens, logits, computed = _screened_argmax(input, packed, screen, norms)
    return tokens, logits, int(computed)


@torch.library.register_fake("_C::screen_head")
def _(weight: Tensor) -> tuple[Tensor, Tensor]:
    n, k = weight.shape
    panels, padded = -(-n // PANEL_WIDTH), -(-k // 8) * 8
    screen = weight.new_empty(64 + panels * PANEL_WIDTH * (4 + padded), dtype=torch.uint8)
    return screen, weight.new_empty((panels, 2), dtype=torch.float32)


@torch.library.register_fake("_C::screened_argmax")
def _(input: Tensor, packed: Tensor, screen: Tensor, norms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = input.shape[0]
    tokens, computed = (input.new_empty(size, dtype=torch.int64) for size in (rows, 1))
    return tokens, input.new_empty(rows, dtype=torch.float32), computed
