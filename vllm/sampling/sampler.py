"""From logits to tokens, for the rows of one step."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vllm.config import LogprobsMode
from vllm.kernels.op_set import OpSet
from vllm.messages import TokenLogprobs
from vllm.sampling.drawn_logits import drawn_logits
from vllm.sampling.logprobs import token_logprobs
from vllm.sampling.processors import apply_processors, needs_processors
from vllm.sampling.uniform import uniform
from vllm.scheduler.request import Request

_SEED_MASK = 2**64 - 1


class Sampler:
    """Stateless: what a row draws depends on its request alone."""

    def __init__(self, ops: OpSet, logprobs_mode: LogprobsMode = "raw_logprobs"):
        self._ops = ops
        self._shows_processed = logprobs_mode.startswith("processed")
        self._shows_logprobs = logprobs_mode.endswith("logprobs")

    def sample(self, logits: Tensor, requests: list[Request]) -> tuple[list[int], dict[int, TokenLogprobs]]:
        """One token for each row of logits [rows, vocab] f32, which are overwritten, and logprobs by row.

        Raw log probabilities are those of the model, before penalties, biases and temperature, processed ones those
        that tokens are drawn with.
        """
        wanted = [i for i, request in enumerate(requests) if request.params.logprobs is not None]
        shown = logits[wanted] if wanted and not self._shows_processed else None  # advanced indexing copies
        if any(needs_processors(request) for request in requests):
            apply_processors(self._ops, logits, requests)
        if wanted and self._shows_processed:
            shown = drawn_logits(logits[wanted], [requests[i] for i in wanted])
        tokens = self._draw(logits, requests).tolist()
        if shown is None:
            return tokens, {}
        counts = [requests[i].params.logprobs or 0 for i in wanted]
        entries = self.logprobs(shown, [tokens[i] for i in wanted], counts)
        return tokens, dict(zip(wanted, entries, strict=True))

    def logprobs(self, logits: Tensor, tokens: list[int], counts: list[int]) -> list[TokenLogprobs]:
        """As token_logprobs; the logits themselves where the mode says so."""
        return token_logprobs(logits, tokens, counts, self._shows_logprobs)

    def rehearse(self, logits: Tensor) -> None:
        """Draws from logits [rows, vocab] f32 in the way that takes the most memory."""
        ones = torch.ones(logits.shape[0])
        self._ops.sample_tokens(logits, ones, ones.int(), ones / 2, ones / 2, ones / 2)

    def _draw(self, logits: Tensor, requests: list[Request]) -> Tensor:
        if all(request.greedy for request in requests):
            zeros, no_top_k = _greedy_arguments(len(requests))
            return self._ops.sample_tokens(logits, zeros, no_top_k, zeros, zeros, zeros)
        params = [request.params for request in requests]
        seeds = np.array([(p.seed or 0) & _SEED_MASK for p in params], np.uint64)
        counters = np.array([request.num_output_tokens for request in requests], np.uint64)
        vocab_size = logits.shape[1]
        return self._ops.sample_tokens(
            logits,
            torch.tensor([0.0 if r.greedy else r.params.temperature for r in requests], dtype=torch.float32),
            torch.tensor([min(p.top_k, vocab_size) for p in params], dtype=torch.int32),
            torch.tensor([p.top_p for p in params], dtype=torch.float32),
            torch.tensor([p.min_p for p in params], dtype=torch.float32),
            torch.from_numpy(uniform(seeds, counters)),
        )


@lru_cache(maxsize=4)
def _greedy_arguments(rows: int) -> tuple[Tensor, Tensor]:
    """Temperature (and every other number) 0, and top_k 0."""
    return torch.zeros(rows), torch.zeros(rows, dtype=torch.int32)
