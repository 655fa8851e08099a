"""Merging partial attentions."""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_merge_attn_states = torch.ops._C.merge_attn_states.default


def merge_attn_states(
    output: Tensor,
    prefix_output: Tensor,
    prefix_lse: Tensor,
    suffix_output: Tensor,
    suffix_lse: Tensor,
    output_lse: Tensor | None = None,
) -> None:
    """Combine two attentions of the same queries over disjoint keys into the attention over all of them.

    Args:
        output, prefix_output, suffix_output: ``[tokens, heads, head_size]`` f32, bf16 or f16; the last dimension
            contiguous.
        prefix_lse, suffix_lse, output_lse: ``[heads, tokens]`` f32, logarithms of the sums of exponentiated scores.
            An infinite one says that its part saw no key; where both are, the prefix is copied.

    Raises:
        RuntimeError: a tensor does not fit.
    """
    _merge_attn_states(output, output_lse, prefix_output, prefix_lse, suffix_output, suffix_lse)


@torch.library.register_fake("_C::merge_attn_states")
def _(
    output: Tensor, output_lse: Tensor | None, prefix_output: Tensor, prefix_lse: Tensor, suffix_output: Tensor,
    suffix_lse: Tensor,
) -> None:  # fmt: skip
    return None
