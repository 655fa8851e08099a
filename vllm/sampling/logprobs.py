"""Log probabilities of chosen and of the most likely tokens."""

import torch
from torch import Tensor

from vllm.messages import TokenLogprobs


def token_logprobs(logits: Tensor, tokens: list[int], counts: list[int], normalize: bool = True) -> list[TokenLogprobs]:
    """For each row of logits [rows, vocab] f32: its token's log probability and rank, and the `count` most likely.

    Without `normalize` logits stand in the place of log probabilities.
    """
    logprobs = torch.log_softmax(logits, dim=-1) if normalize else logits
    chosen = logprobs.gather(1, torch.tensor(tokens, device=logits.device).unsqueeze(1))
    ranks = (logprobs > chosen).sum(dim=1).add_(1).tolist()
    most = max(counts)
    values, ids = logprobs.topk(most, dim=1) if most else (chosen[:, :0], chosen[:, :0].long())
    result = []
    for token, value, rank, count, top_ids, top_values in zip(
        tokens, chosen[:, 0].tolist(), ranks, counts, ids.tolist(), values.tolist(), strict=True
    ):
        result.append(TokenLogprobs([token, *top_ids[:count]], [value, *top_values[:count]], rank))
    return result
