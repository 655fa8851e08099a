"""Repetition, frequency and presence penalties."""

from collections import Counter
from itertools import accumulate

import torch
from torch import Tensor

from vllm.kernels.op_set import OpSet
from vllm.sampling_params import SamplingParams
from vllm.scheduler.request import Request


def has_penalties(params: SamplingParams) -> bool:
    return params.repetition_penalty != 1 or params.frequency_penalty != 0 or params.presence_penalty != 0


def apply_penalties(ops: OpSet, logits: Tensor, requests: list[Request]) -> None:
    """In place on logits [rows, vocab] f32; rows without penalties stay as they are.

    Repetition divides (or, below zero, multiplies) logits of tokens in prompt or answer; frequency and presence
    subtract, per occurrence and once, for tokens in the answer.
    """
    if not any(has_penalties(request.params) for request in requests):
        return
    seen = [_seen_tokens(request) for request in requests]
    params = [request.params for request in requests]
    ops.apply_penalties(
        logits,
        torch.tensor([0, *accumulate(len(counts) for counts in seen)], dtype=torch.int32),
        torch.tensor([token for counts in seen for token in counts], dtype=torch.int32),
        torch.tensor([count for counts in seen for count in counts.values()], dtype=torch.int32),
        torch.tensor([p.repetition_penalty for p in params], dtype=torch.float32),
        torch.tensor([p.frequency_penalty for p in params], dtype=torch.float32),
        torch.tensor([p.presence_penalty for p in params], dtype=torch.float32),
    )


def _seen_tokens(request: Request) -> dict[int, int]:
    """How often the answer holds each token; 0 for those of the prompt alone. Empty without penalties."""
    if not has_penalties(request.params):
        return {}
    counts = dict.fromkeys(request.token_ids[: request.num_prompt_tokens], 0)
    for token, count in Counter(request.token_ids[request.num_prompt_tokens :]).items():
        counts[token] = count
    return counts
