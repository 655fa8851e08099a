"""Penalties and the choice of the next token.

Logits may be on any device; everything else is on the host, where it is looked at, and copied to the device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def apply_repetition_penalties(
    logits: Tensor, prompt_mask: Tensor, output_mask: Tensor, repetition_penalties: Tensor
) -> None:
    """All on one device."""
    penalties = torch.where(prompt_mask | output_mask, repetition_penalties.unsqueeze(1), 1.0)
    logits.copy_(torch.where(logits > 0, logits / penalties, logits * penalties))


def apply_penalties(
    logits: Tensor,
    row_offsets: Tensor,
    token_ids: Tensor,
    counts: Tensor,
    repetition: Tensor,
    frequency: Tensor,
    presence: Tensor,
) -> None:
    rows = torch.repeat_interleave(row_offsets.diff().long())
    subtracted = torch.where(counts > 0, frequency[rows] * counts + presence[rows], 0.0)
    factor, subtracted, rows, ids = (
        x.to(logits.device, non_blocking=True) for x in (repetition[rows], subtracted, rows, token_ids.long())
    )
    seen = logits[rows, ids]
    logits[rows, ids] = torch.where(seen > 0, seen / factor, seen * factor) - subtracted


def sample_tokens(
    logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, uniform: Tensor
) -> Tensor:
    """Sums are f64, so that a long tail of unlikely tokens loses nothing. Only top_k and top_p sort the vocabulary."""
    if not temperature.any():
        return logits.argmax(-1)
    drawn = temperature > 0
    weights = token_weights(logits, torch.where(drawn, temperature, 1.0), top_k, top_p, min_p)
    uniform, drawn = (_column(x, logits) for x in (uniform.double(), drawn))
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    chosen = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    chosen = chosen.clamp(max=logits.shape[1] - 1)  # beyond only where a row is not finite
    return torch.where(drawn, chosen, logits.argmax(-1, keepdim=True)).squeeze(1)


def token_weights(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """[rows, vocab] f32: what each token is drawn in proportion to; 0 for those that a row's parameters rule out."""
    sorts = bool((top_k > 0).any() or (top_p < 1).any())
    columns = (temperature, top_k.long(), top_p.double(), min_p)
    temperature, top_k, top_p, min_p = (_column(x, logits) for x in columns)
    weights = torch.softmax(logits / temperature, -1)
    weights = torch.where(weights >= min_p * weights.amax(-1, keepdim=True), weights, 0.0)
    return _keep_likeliest(weights, top_k, top_p) if sorts else weights


def _column(values: Tensor, logits: Tensor) -> Tensor:
    """One a row, beside the logits."""
    return values.to(logits.device, non_blocking=True).unsqueeze(1)


def _keep_likeliest(weights: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Zeros the weights [rows, vocab] of tokens that a row's top_k and top_p drop."""
    ordered = weights.sort(-1, descending=True).values
    last = (top_k - 1).remainder(weights.shape[1])  # top_k 0: the last of all
    kth = ordered.gather(1, last)
    kept = torch.where(ordered >= kth, ordered, 0.0)
    cumulative = kept.cumsum(-1, dtype=torch.float64)
    before = (cumulative < top_p * cumulative[:, -1:]).sum(-1, keepdim=True)
    smallest = torch.maximum(kth, ordered.gather(1, before.clamp(max=weights.shape[1] - 1)))
    return torch.where(weights >= smallest, weights, 0.0)
