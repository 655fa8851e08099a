"""TORCH_SDPA: torch's own attention over keys and values gathered from the paged cache, on any device.

Nothing here waits for the device: which sequences decode, and all lengths that shapes depend on, the host knows.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from vllm.attention.cache_format import CacheFormat, zeros
from vllm.attention.paged import LayerCache, PagedAttention
from vllm.attention.sdpa_plan import DecodingGroup, make_plan
from vllm.attention.step_input import StepInput
from vllm.kernels.torch_ops.qkv import qkv_norm_rope_cache
from vllm.kernels.torch_ops.quantized_cache import qkv_norm_rope_quantized_cache, read_blocks

# Bytes of keys and values that are gathered at once: sequences that decode attend in groups of this size.
_GATHERED_BYTES = 256 << 20
# Query tokens times keys that are masked at once: torch may hold a number for each of them and each head.
_MASKED_PAIRS = 1 << 22


def torch_kernels() -> AbstractContextManager[None]:
    """Within it torch attends by these kernels: never by cuDNN's, which it prefers on Hopper and Blackwell.

    cuDNN plans each new shape for 40 ms and more, keeps the plan for good (pytorch/pytorch#191576, #190388), and every
    prompt and step has a shape of its own here.
    """
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def allocate(
    attention: PagedAttention, num_blocks: int, block_size: int, format: CacheFormat, device: torch.device
) -> LayerCache:
    """A layer's cache [num_blocks + 1, block_size, kv_heads, head_size], zeros.

    The last block is for the tokens that pad a step (worker/device_step.py).
    """
    shape = (num_blocks + 1, block_size, attention.shape.num_kv_heads, attention.shape.head_size)
    keys, values = (zeros(shape, format.element, device) for _ in range(2))
    if not format.is_quantized:
        return LayerCache((keys, values), qkv_norm_rope_cache, attend)
    if format.scale_each:
        scales = (zeros(shape[:-1], torch.float32, device) for _ in range(2))
    else:
        scales = (torch.full((1,), scale, device=device) for scale in attention.kv_scales)
    return LayerCache((keys, values, *scales), qkv_norm_rope_quantized_cache, _attend_quantized)


@dataclass(slots=True)
class _Stored:
    """Keys or values of all blocks [blocks, block_size, kv_heads, head_size]; in 8 bits with scales."""

    elements: Tensor
    scales: Tensor | None = None

    def read(self, blocks: Tensor, dtype: torch.dtype) -> Tensor:
        """Of `blocks` [n], in order and in `dtype`: [n, block_size, kv_heads, head_size]."""
        if self.scales is None:
            return self.elements.index_select(0, blocks)
        return read_blocks(self.elements, self.scales, blocks, dtype)


def attend(
    out: Tensor, query: Tensor, keys: Tensor, values: Tensor, step: StepInput, scale: float, sliding_window: int
) -> None:
    """LayerCache.attend. Which of torch's kernels computes it, and so its rounding, depends on shapes and device."""
    _attend(out, query, (_Stored(keys), _Stored(values)), step, scale, sliding_window)


def _attend_quantized(
    out: Tensor,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    k_scale: Tensor,
    v_scale: Tensor,
    step: StepInput,
    scale: float,
    sliding_window: int,
) -> None:
    """As `attend`; what a step reads is dequantised first."""
    _attend(out, query, (_Stored(keys, k_scale), _Stored(values, v_scale)), step, scale, sliding_window)


def _attend(
    out: Tensor, query: Tensor, stored: tuple[_Stored, _Stored], step: StepInput, scale: float, window: int
) -> None:
    block_size, kv_heads = stored[0].elements.shape[1:3]
    if step.plan is None:
        step.plan = make_plan(step, block_size)
    # Query heads [tokens, kv_heads, heads of each, head_size].
    query, out = (x.unflatten(1, (kv_heads, -1)) for x in (query, out))
    group = step.plan.decoding
    if group is not None and group.tokens is None:
        _decode(out, query, stored, group, scale, window)
    elif group is not None:
        chosen = query.index_select(0, group.tokens)
        attended = torch.empty_like(chosen)
        _decode(attended, chosen, stored, group, scale, window)
        out.index_copy_(0, group.tokens, attended)
    for row, first, count, length in step.plan.prefilling:
        blocks = step.block_table[row, : -(-length // block_size)]
        # [kv_heads, 1, length, head_size]
        k, v = (x.read(blocks, query.dtype).flatten(0, 1)[:length].transpose(0, 1).unsqueeze(1) for x in stored)
        tokens = slice(first, first + count)
        _prefill(out[tokens], query[tokens], k, v, scale, window)


def _decode(
    out: Tensor, query: Tensor, stored: tuple[_Stored, _Stored], group: DecodingGroup, scale: float, window: int
) -> None:
    """One query token a sequence. The heads that share keys are that many queries of one head."""
    sequences, width = group.block_table.shape
    block = stored[0].elements[0]
    mask = group.mask(width * block.shape[0], window)[:, None, None, :]
    at_once = max(1, _GATHERED_BYTES // (2 * width * block.numel() * query.itemsize))
    for first in range(0, sequences, at_once):
        part = slice(first, first + at_once)
        blocks = group.block_table[part]
        # [sequences, kv_heads, keys, head_size]
        k, v = (
            x.read(blocks.flatten(), query.dtype).view(blocks.shape[0], -1, *block.shape[1:]).transpose(1, 2)
            for x in stored
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
