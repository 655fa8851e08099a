"""What a step has to read and to compute, from the model's weights and the lengths of its sequences."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from vllm.attention.cache_format import CacheFormat
from vllm.layers.linear import Linear
from vllm.layers.mlp import GatedMLP
from vllm.layers.output_head import OutputHead
from vllm.models.interface import Model
from vllm.models.parts import named_parts
from vllm.scheduler.output import ScheduledStep


@dataclass(frozen=True)
class Cost:
    """Bytes read and written in memory, operations in the model's dtype, operations on 8-bit integers."""

    bytes: int = 0
    flops: int = 0
    int8: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.bytes + other.bytes, self.flops + other.flops, self.int8 + other.int8)


@dataclass(frozen=True)
class SequenceStep:
    """One sequence in a step: tokens in the cache before, tokens that it computes, rows of logits that it needs.

    takes_likeliest: whether of those rows only the largest logit matters.
    """

    start: int
    count: int
    sampled: int
    takes_likeliest: bool = False


def sequences_of(step: ScheduledStep) -> list[SequenceStep]:
    """To be asked before the step is run, which moves its requests on."""
    sequences = []
    for request, count in zip(step.requests, step.num_new_tokens, strict=True):
        start, drafted = request.num_computed_tokens, len(request.draft)
        completes = start + count == request.num_tokens + drafted
        sequences.append(SequenceStep(start, count, 1 + drafted if completes else 0, request.takes_likeliest))
    return sequences


class ModelCost:
    """Weights count at their packed size; norms and activations, which stay in the caches, are left out.

    Where only the largest logits matter, a screened head (layers/screened_head.py) counts as its screen.
    """

    def __init__(self, model: Model, cache_format: CacheFormat):
        self._body, self._wanted, self._head, self._screen = (_Weights() for _ in range(4))
        self._format = cache_format
        shapes = [attention.shape for attention in model.attentions]
        self._attentions = Counter((s.num_heads, s.num_kv_heads, s.head_size, s.sliding_window) for s in shapes)
        for _, part in named_parts(model):
            weights = self._wanted if any(part is other for other in model.only_wanted) else self._body
            if isinstance(part, Linear):
                weights.add(part.packed, part.out_features * part.in_features)
            elif isinstance(part, GatedMLP) and part.fused is not None:
                weights.add(part.fused, 2 * part.down.out_features * part.down.in_features)
            elif isinstance(part, OutputHead):
                self._head.add(part.packed, part.vocab_size * part.width)
                screen = part.packed if part.screened is None else part.screened.screen
                self._screen.add(screen, part.vocab_size * part.width)

    @property
    def uses_int8(self) -> bool:
        return any(weights.int8 for weights in (self._body, self._wanted, self._head, self._screen))

    def of_step(self, sequences: list[SequenceStep]) -> Cost:
        wanted = sum(s.sampled for s in sequences)
        head = self._screen if all(s.takes_likeliest for s in sequences if s.sampled) else self._head
        cost = self._body.cost(sum(s.count for s in sequences)) + self._wanted.cost(wanted) + head.cost(wanted)
        for (heads, kv_heads, head_size, window), layers in self._attentions.items():
            for sequence in sequences:
                start, end = sequence.start, sequence.start + sequence.count
                first = max(0, start + 1 - window) if window else 0
                moved = (end - first + sequence.count) * self._format.token_bytes(kv_heads, head_size)
                flops = 4 * heads * head_size * _visible_keys(start, end, window)
                cost += Cost(layers * moved, layers * flops)
        return cost


class _Weights:
    """Weights that one step multiplies by the same number of rows."""

    def __init__(self) -> None:
        self.bytes = self.floating = self.int8 = 0

    def add(self, packed: Tensor, elements: int) -> None:
        self.bytes += packed.nbytes
        if packed.dtype in (torch.uint8, torch.int8):  # codes (kernels/quantized_linear.py, scaled_weight.py)
            self.int8 += elements
        else:
            self.floating += elements

    def cost(self, rows: int) -> Cost:
        return Cost(self.bytes, 2 * rows * self.floating, 2 * rows * self.int8) if rows else Cost()


def _visible_keys(start: int, end: int, window: int) -> int:
    """Keys that the tokens of positions start to end - 1 see, added up: position p sees p + 1, at most `window`."""
    full = (end * (end + 1) - start * (start + 1)) // 2
    if not window or end <= window:
        return full
    first_cut = max(start, window)
    return full - sum(position + 1 - window for position in range(first_cut, end))
