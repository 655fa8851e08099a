"""Repetition, frequency and presence penalties."""

from collections import Counter

import torch
from torch import Tensor

from vllm.sampling_params import SamplingParams
from vllm.scheduler.request import Request


def has_penalties(params: SamplingParams) -> bool:
    return params.repetition_penalty != 1 or params.frequency_penalty != 0 or params.presence_penalty != 0


def apply_penalties(logits: Tensor, requests: list[Request]) -> None:
    """In place on logits [rows, vocab] f32, for the rows that have penalties.

    Repetition divides (or, below zero, multiplies) logits of tokens in prompt or answer; frequency and presence
    subtract, per occurrence and once, for tokens in the answer.
    """
    for row, request in enumerate(requests):
        params = request.params
        if not has_penalties(params):
            continue
        if params.repetition_penalty != 1:
            seen = torch.tensor(list(set(request.token_ids)))
            values = logits[row, seen]
            penalty = params.repetition_penalty
            logits[row, seen] = torch.where(values > 0, values / penalty, values * penalty)
        counts = Counter(request.token_ids[request.num_prompt_tokens :])
        if counts and (params.frequency_penalty or params.presence_penalty):
            ids = torch.tensor(list(counts))
            amounts = torch.tensor(list(counts.values()), dtype=torch.float32)
            logits[row, ids] -= params.frequency_penalty * amounts + params.presence_penalty
