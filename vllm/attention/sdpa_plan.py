"""What all layers of a step of TORCH_SDPA share. The host knows it: nothing here waits for the device."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vllm.attention.step_input import StepInput


@dataclass(slots=True)
class DecodingGroup:
    """Sequences of a step that have one query token each.

    tokens, rows: [sequences] i64, where their tokens are and their rows in the block table; None: all, in order.
    masks: by sliding window, [sequences, keys] bool, made for the first layer that needs it.
    """

    lens: Tensor
    block_table: Tensor
    tokens: Tensor | None = None
    masks: dict[int, Tensor] = field(default_factory=dict)

    def mask(self, num_keys: int, window: int) -> Tensor:
        if window not in self.masks:
            key, lens = torch.arange(num_keys, device=self.lens.device), self.lens.unsqueeze(1)
            mask = key < lens
            self.masks[window] = mask & (key >= lens - window) if window else mask
        return self.masks[window]


@dataclass(slots=True)
class Plan:
    """Who decodes, and (sequence, first token, tokens, length) of everyone else."""

    decoding: DecodingGroup | None
    prefilling: list[tuple[int, int, int, int]]


def make_plan(step: StepInput, block_size: int) -> Plan:
    counts, starts = step.num_new_tokens, step.starts
    if step.num_tokens == len(counts):
        return Plan(DecodingGroup(step.seq_lens, step.block_table), [])
    prefilling, tokens, rows, longest, first = [], [], [], 0, 0
    for row, (count, start) in enumerate(zip(counts, starts, strict=True)):
        if count > 1:
            prefilling.append((row, first, count, start + count))
        else:
            tokens.append(first)
            rows.append(row)
            longest = max(longest, start + 1)
        first += count
    if not rows:
        return Plan(None, prefilling)
    device = step.seq_lens.device
    tokens, rows = (torch.tensor(numbers).to(device, non_blocking=True) for numbers in (tokens, rows))
    table = step.block_table[:, : -(-longest // block_size)].index_select(0, rows)
    return Plan(DecodingGroup(step.seq_lens.index_select(0, rows), table, tokens), prefilling)
