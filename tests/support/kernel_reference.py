"""Every op in plain torch: f32 or f64 in and out, no attention to speed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    x = x.double()
    return x * (x.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt() * weight.double()


def gated(activation):
    def apply(x: Tensor) -> Tensor:
        gate, up = x.double().chunk(2, -1)
        return activation(gate) * up

    return apply


def mul_and_silu(x: Tensor) -> Tensor:
    up, gate = x.double().chunk(2, -1)
    return F.silu(gate) * up


def fatrelu_and_mul(x: Tensor, threshold: float) -> Tensor:
    return gated(lambda gate: F.threshold(gate, threshold, 0.0))(x)


def swigluoai_and_mul(x: Tensor, alpha: float = 1.702, limit: float = 7.0) -> Tensor:
    x = x.double()
    gate, up = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
    return (up + 1) * gate * torch.sigmoid(alpha * gate)


def gelu_quick(x: Tensor) -> Tensor:
    return x.double() * torch.sigmoid(1.702 * x.double())


def gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x.double(), approximate="tanh")


def cos_sin_cache(rotary_size: int, positions: int, base: float = 10000.0) -> Tensor:
    angles = torch.outer(torch.arange(positions).float(), base ** (-torch.arange(0, rotary_size, 2) / rotary_size))
    return torch.cat((angles.cos(), angles.sin()), -1)


def rotate(heads: Tensor, cos_sin: Tensor, is_neox: bool) -> Tensor:
    """heads [..., heads, head_size], cos_sin [..., rotary_size]."""
    heads, (cos, sin) = heads.double(), cos_sin.double().unsqueeze(-2).chunk(2, -1)
    size = cos_sin.shape[-1]
    rotated, rest = heads[..., :size], heads[..., size:]
    a, b = rotated.chunk(2, -1) if is_neox else (rotated[..., ::2], rotated[..., 1::2])
    pair = (a * cos - b * sin, b * cos + a * sin)
    rotated = torch.cat(pair, -1) if is_neox else torch.stack(pair, -1).flatten(-2)
    return torch.cat((rotated, rest), -1)


def merge_attn_states(prefix: Tensor, prefix_lse: Tensor, suffix: Tensor, suffix_lse: Tensor) -> tuple[Tensor, Tensor]:
    """[tokens, heads, head_size] and [heads, tokens]."""
    lse = torch.logaddexp(prefix_lse.double(), suffix_lse.double())
    a, b = ((part.double() - lse).exp().t().unsqueeze(-1) for part in (prefix_lse, suffix_lse))
    return prefix.double() * a + suffix.double() * b, lse


def repetition_penalties(logits: Tensor, seen: Tensor, penalties: Tensor) -> Tensor:
    logits, penalties = logits.float(), penalties.unsqueeze(-1)
    return torch.where(seen, torch.where(logits > 0, logits / penalties, logits * penalties), logits)


def token_distribution(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Probabilities (f64) of one row's tokens after all filters; tokens that tie with the last one kept are kept."""
    probabilities = torch.softmax(logits.double() / temperature, -1)
    keep = probabilities >= min_p * probabilities.max()
    if 0 < top_k < logits.numel():
        keep &= logits >= logits.topk(top_k).values[-1]
    probabilities = torch.where(keep, probabilities, 0.0)
    probabilities /= probabilities.sum()
    if top_p < 1:
        ordered = probabilities.sort(descending=True).values
        last = int((ordered.cumsum(-1) < top_p).sum().clamp(max=logits.numel() - 1))
        probabilities = torch.where(probabilities >= ordered[last], probabilities, 0.0)
        probabilities /= probabilities.sum()
    return probabilities
