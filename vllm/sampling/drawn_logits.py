"""Logits as tokens are drawn from them, for who asks to see these."""

import torch
from torch import Tensor

from vllm.kernels.torch_ops.sampling import token_weights
from vllm.scheduler.request import Request


def drawn_logits(logits: Tensor, requests: list[Request]) -> Tensor:
    """Of logits [rows, vocab] f32: over temperature, and -inf for tokens that top_k, top_p and min_p rule out.

    Those of greedy requests are as they were: the largest is taken, whatever these say.
    """
    params = [request.params for request in requests]
    temperature = torch.tensor([1.0 if p.greedy else p.temperature for p in params])
    weights = token_weights(
        logits,
        temperature,
        torch.tensor([min(p.top_k, logits.shape[1]) for p in params]),
        torch.tensor([p.top_p for p in params]),
        torch.tensor([p.min_p for p in params]),
    )
    greedy = torch.tensor([p.greedy for p in params]).to(logits.device).unsqueeze(1)
    scaled = logits / temperature.to(logits.device).unsqueeze(1)
    return torch.where(greedy | (weights > 0), scaled, -torch.inf)
