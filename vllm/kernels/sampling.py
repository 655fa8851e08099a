"""Penalties and the choice of the next token. Nothing sorts the vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_apply_repetition_penalties = torch.ops._C.apply_repetition_penalties_.default
_apply_penalties = torch.ops._C.apply_penalties_.default
_sample_tokens = torch.ops._C.sample_tokens.default


def apply_repetition_penalties(
    logits: Tensor, prompt_mask: Tensor, output_mask: Tensor, repetition_penalties: Tensor
) -> None:
    """Divide positive logits of seen tokens by the row's penalty, multiply negative ones (CTRL; Keskar et al., 2019).

    Args:
        logits: ``[rows, vocab]`` f32, bf16 or f16, changed in place; rows contiguous.
        prompt_mask, output_mask: bool ``[rows, vocab]``; a token in either is penalized.
        repetition_penalties: ``[rows]``, f32 or as ``logits``.
    """
    _apply_repetition_penalties(logits, prompt_mask, output_mask, repetition_penalties)


def apply_penalties(
    logits: Tensor,
    row_offsets: Tensor,
    token_ids: Tensor,
    counts: Tensor,
    repetition: Tensor,
    frequency: Tensor,
    presence: Tensor,
) -> None:
    """Apply all three penalties of a batch to the tokens that each row has seen.

    Seen tokens come in compressed rows: those of row ``r`` are ``token_ids[row_offsets[r]:row_offsets[r + 1]]``, each
    once. For such a token: ``logit / repetition`` where positive, else ``logit * repetition``; then, where the output
    holds it, minus ``frequency * count + presence``.

    Args:
        logits: f32 ``[rows, vocab]``, changed in place; rows contiguous.
        row_offsets: i32 ``[rows + 1]``, ascending from 0 to the size of ``token_ids``.
        token_ids: i32, tokens of the prompt or the output.
        counts: i32 of the same size: how often the output holds the token, 0 where only the prompt does.
        repetition, frequency, presence: f32 ``[rows]``; 1, 0 and 0 change nothing.

    Raises:
        RuntimeError: a tensor does not fit, or a token id lies outside the vocabulary.
    """
    _apply_penalties(logits, row_offsets, token_ids, counts, repetition, frequency, presence)


def sample_tokens(
    logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, uniform: Tensor
) -> Tensor:
    """Choose one token of each row: i64 ``[rows]``.

    Invert the cumulative distribution of ``softmax(logits / temperature)`` over the tokens that remain, in the order of
    their ids. First ``min_p`` (tokens less likely than ``min_p`` times the likeliest) and ``top_k`` drop tokens, then
    ``top_p`` keeps the fewest likeliest ones that hold this share of the rest. Tokens equal to the last kept are kept.

    Args:
        logits: f32 ``[rows, vocab]``, not changed; rows contiguous. A token with ``-inf`` is never chosen while
            another one can be.
        temperature: f32 ``[rows]``; 0 takes the likeliest token, of several the one with the lowest id.
        top_k: i32 ``[rows]``; 0 keeps all.
        top_p: f32 ``[rows]``; 1 keeps all.
        min_p: f32 ``[rows]``; 0 keeps all.
        uniform: f32 ``[rows]`` in [0, 1), the random numbers.

    Raises:
        RuntimeError: a tensor does not fit, or the vocabulary is empty.
    """
    return _sample_tokens(logits, temperature, top_k, top_p, min_p, uniform)


@torch.library.register_fake("_C::apply_repetition_penalties_")
def _(logits: Tensor, prompt_mask: Tensor, output_mask: Tensor, repetition_penalties: Tensor) -> None:
    return None


@torch.library.register_fake("_C::apply_penalties_")
def _(
    logits: Tensor, row_offsets: Tensor, token_ids: Tensor, counts: Tensor, repetition: Tensor, frequency: Tensor,
    presence: Tensor,
) -> None:  # fmt: skip
    return None


@torch.library.register_fake("_C::sample_tokens")
def _(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, uniform: Tensor) -> Tensor:
    return logits.new_empty(logits.shape[0], dtype=torch.int64)
