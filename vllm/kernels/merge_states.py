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
    prefill_tokens_with_context: int | None = None,
    output_scale: Tensor | None = None,
) -> None:
    """Combine two attentions of the same queries over disjoint keys into the attention over all of them.

    Args:
        output, prefix_output, suffix_output: ``[tokens, heads, head_size]`` f32, bf16 or f16; the last dimension
            contiguous. With ``output_scale`` ``output`` is float8_e4m3fn.
        prefix_lse, suffix_lse, output_lse: ``[heads, tokens]`` f32, logarithms of the sums of exponentiated scores.
            An infinite one says that its part saw no key; where both are, the prefix is copied.
        prefill_tokens_with_context: so many tokens, the first ones, have a prefix; None: all.
        output_scale: f32, one value, that the result is divided by.

    Raises:
        RuntimeError: a tensor does not fit.
        ValueError: there are fewer tokens than ``prefill_tokens_with_context``.
    """
    merged = output if output_scale is None else torch.empty_like(prefix_output)
    first = prefill_tokens_with_context
    if first is None:
        _merge_attn_states(merged, output_lse, prefix_output, prefix_lse, suffix_output, suffix_lse)
    else:
        _merge_first(first, merged, prefix_output, prefix_lse, suffix_output, suffix_lse, output_lse)
    if output_scale is not None:
        torch.ops._C.static_scaled_fp8_quant.default(output, merged, output_scale)


def _merge_first(
    first: int,
    output: Tensor,
    prefix_output: Tensor,
    prefix_lse: Tensor,
    suffix_output: Tensor,
    suffix_lse: Tensor,
    output_lse: Tensor | None,
) -> None:
    """Merges the `first` tokens, and copies the suffix of the others."""
    if not 0 <= first <= len(output):
        raise ValueError(f"prefill_tokens_with_context={first} is not accepted: give 0 to {len(output)}, the tokens")
    output[first:] = suffix_output[first:]
    if output_lse is not None:
        output_lse[:, first:] = suffix_lse[:, first:]
        output_lse = output_lse[:, :first]
    _merge_attn_states(
        output[:first], output_lse, prefix_output[:first], prefix_lse[:, :first], suffix_output[:first],
        suffix_lse[:, :first],
    )  # fmt: skip


@torch.library.register_fake("_C::merge_attn_states")
def _(
    output: Tensor, output_lse: Tensor | None, prefix_output: Tensor, prefix_lse: Tensor, suffix_output: Tensor,
    suffix_lse: Tensor,
) -> None:  # fmt: skip
    return None
