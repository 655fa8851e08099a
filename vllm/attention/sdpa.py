"""TORCH_SDPA: torch's own attention over keys and values gathered from the paged cache, on any device.

Nothing here waits for the device: which sequences decode, and all lengths that shapes depend on, the host knows.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vllm.attention.cache_format import CacheFormat, zeros
from vllm.attention.paged import LayerCache, PagedAttention
from vllm.attention.step_input import StepInput
from vllm.kernels.torch_ops.qkv import qkv_norm_rope_cache

# Bytes of keys and values that are gathered at once: sequences that decode attend in groups of this size.
_GATHERED_BYTES = 256 << 20
# Query tokens times keys that are masked at once: torch may hold a number for each of them and each head.
_MASKED_PAIRS = 1 << 22


def allocate(
    attention: PagedAttention, num_blocks: int, block_size: int, format: CacheFormat, device: torch.device
) -> LayerCache:
    """A layer's cache [num_blocks + 1, block_size, kv_heads, head_size], zeros.

    The last block is for the tokens that pad a step (worker/device_step.py).
    """
    shape = (num_blocks + 1, block_size, attention.shape.num_kv_heads, attention.shape.head_size)
    keys, values = (zeros(shape, format.element, device) for _ in range(2))
    return LayerCache((keys, values), qkv_norm_rope_cache, attend)


@dataclass(slots=True)
class _Group:
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
class _Plan:
    """What all layers of a step share: who decodes, and (sequence, first token, tokens, length) of everyone else."""

    decoding: _Group | None
    prefilling: list[tuple[int, int, int, int]]


def _plan(step: StepInput, block_size: int) -> _Plan:
    counts, starts = step.num_new_tokens, step.starts
    if step.num_tokens == len(counts):
        return _Plan(_Group(step.seq_lens, step.block_table), [])
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
        return _Plan(None, prefilling)
    device = step.seq_lens.device
    chosen = torch.tensor(rows).to(device, non_blocking=True)
    table = step.block_table[:, : -(-longest // block_size)].index_select(0, chosen)
    group = _Group(step.seq_lens.index_select(0, chosen), table, torch.tensor(tokens).to(device, non_blocking=True))
    return _Plan(group, prefilling)


def attend(
    out: Tensor, query: Tensor, keys: Tensor, values: Tensor, step: StepInput, scale: float, sliding_window: int
) -> None:
    """LayerCache.attend. Which of torch's kernels computes it, and so its rounding, depends on shapes and device."""
    block_size, kv_heads = keys.shape[1:3]
    if step.plan is None:
        step.plan = _plan(step, block_size)
    # Query heads [tokens, kv_heads, heads of each, head_size].
    query, out = (x.unflatten(1, (kv_heads, -1)) for x in (query, out))
    group = step.plan.decoding
    if group is not None and group.tokens is None:
        _decode(out, query, keys, values, group, scale, sliding_window)
    elif group is not None:
        chosen = query.index_select(0, group.tokens)
        attended = torch.empty_like(chosen)
        _decode(attended, chosen, keys, values, group, scale, sliding_window)
        out.index_copy_(0, group.tokens, attended)
    for row, first, count, length in step.plan.prefilling:
        blocks = step.block_table[row, : -(-length // block_size)]
        # [kv_heads, 1, length, head_size]
        k, v = (x.index_select(0, blocks).flatten(0, 1)[:length].transpose(0, 1).unsqueeze(1) for x in (keys, values))
        tokens = slice(first, first + count)
        _prefill(out[tokens], query[tokens], k, v, scale, sliding_window)


def _decode(out: Tensor, query: Tensor, keys: Tensor, values: Tensor, group: _Group, scale: float, window: int) -> None:
    """One query token a sequence. The heads that share keys are that many queries of one head."""
    sequences, width = group.block_table.shape
    mask = group.mask(width * keys.shape[1], window)[:, None, None, :]
    at_once = max(1, _GATHERED_BYTES // (2 * width * keys[0].nbytes))
    for first in range(0, sequences, at_once):
        part = slice(first, first + at_once)
        blocks = group.block_table[part]
        # [sequences, kv_heads, keys, head_size]
        k, v = (
            x.index_select(0, blocks.flatten()).view(blocks.shape[0], -1, *x.shape[2:]).transpose(1, 2)
            for x in (keys, values)
        )
        out[part] = F.scaled_dot_product_attention(query[part], k, v, attn_mask=mask[part], scale=scale)


def _prefill(out: Tensor, query: Tensor, keys: Tensor, values: Tensor, scale: float, window: int) -> None:
    """The last tokens of one sequence: query, out [tokens, kv_heads, heads of each, head_size]."""
    count, length = query.shape[0], keys.shape[2]
    heads = query.shape[2]
    query = query.permute(1, 2, 0, 3)
    keys, values = (x.expand(-1, heads, -1, -1) for x in (keys, values))
    if count == length and not 0 < window < length:
        whole = F.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scale)
        out.copy_(whole.permute(2, 0, 1, 3))
        return
    key = torch.arange(length, device=query.device)
    at_once = max(1, _MASKED_PAIRS // length)
    for first in range(0, count, at_once):
        part = slice(first, min(first + at_once, count))
        position = key[length - count :][part].unsqueeze(1)
        mask = key <= position
        if window:
            mask &= key > position - window
        some = F.scaled_dot_product_attention(query[:, :, part], keys, values, attn_mask=mask, scale=scale)
        out[part] = some.permute(2, 0, 1, 3)
