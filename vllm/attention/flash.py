"""FLASH_ATTN: torch's flash attention (torch.nn.attention.varlen) over the paged cache, on NVIDIA's GPUs.

One call a layer and step: keys and values are read where they lie, whoever decodes and whoever has a prompt.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn_out

from vllm.attention import sdpa
from vllm.attention.cache_format import CacheFormat
from vllm.attention.paged import AttentionShape, LayerCache, PagedAttention
from vllm.attention.registry import FLASH_BLOCK_SIZE
from vllm.attention.step_input import StepInput

_log = logging.getLogger(__name__)
# (length, query tokens) of the sequences that the op is tried with: decoding, a prompt, a chunk, across blocks.
_TRIED = ((FLASH_BLOCK_SIZE + 40, 1), (40, 40), (FLASH_BLOCK_SIZE + 1, 30), (1, 1))
# What two ways to compute attention of bf16 or f16 may differ by, for values of size 1.
_TOLERANCE = 0.05


@dataclass(slots=True)
class _Plan:
    """What all layers of a step share. The op wants to know where keys begin, also where a table of pages says it."""

    key_starts: Tensor
    longest_query: int
    longest_keys: int


def allocate(
    attention: PagedAttention, num_blocks: int, block_size: int, format: CacheFormat, device: torch.device
) -> LayerCache:
    """As that of TORCH_SDPA, whose `attend` it keeps where torch's op is not what it should be on this device."""
    cache = sdpa.allocate(attention, num_blocks, block_size, format, device)
    shape = attention.shape
    if _agrees(shape.num_heads, shape.num_kv_heads, shape.head_size, shape.sliding_window, format.element, device):
        cache.attend = attend
    return cache


def attend(
    out: Tensor, query: Tensor, keys: Tensor, values: Tensor, step: StepInput, scale: float, sliding_window: int
) -> None:
    """LayerCache.attend. A row has the same bits in every batch: keys are not split between blocks of threads."""
    if step.plan is None:
        step.plan = _make_plan(step, keys.shape[1])
    plan: _Plan = step.plan
    varlen_attn_out(
        out, query, keys, values, step.query_start_loc, plan.key_starts, plan.longest_query, plan.longest_keys,
        scale=scale,
        window_size=(sliding_window - 1 if sliding_window else -1, 0),  # tokens before itself, and after
        enable_gqa=query.shape[1] != keys.shape[2],
        seqused_k=step.seq_lens,
        block_table=step.block_table,
        # More splits leave rows of other sequences unwritten (pytorch/pytorch#194167).
        num_splits=1,
    )  # fmt: skip


def _make_plan(step: StepInput, block_size: int) -> _Plan:
    sequences, width = step.block_table.shape
    room = width * block_size
    starts = torch.arange(0, (sequences + 1) * room, room, dtype=torch.int32, device=step.block_table.device)
    return _Plan(starts, max(step.num_new_tokens), room)


@functools.cache
def _agrees(
    num_heads: int, num_kv_heads: int, head_size: int, sliding_window: int, dtype: torch.dtype, device: torch.device
) -> bool:
    """Whether `attend` gives what TORCH_SDPA's does for layers of this shape; a warning says why not."""
    shape = AttentionShape(num_heads, num_kv_heads, head_size, sliding_window)
    try:
        got, expected = (_try(function, shape, dtype, device) for function in (attend, sdpa.attend))
    except Exception as error:
        problem = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
    else:
        difference = (got - expected).abs().max().item()
        if difference <= _TOLERANCE:
            return True
        problem = f"its result differs by {difference:.3g} from that of other ops"
    _log.warning("torch's flash attention is not used, TORCH_SDPA is: %s", problem)
    return False


def _try(function: Callable[..., None], shape: AttentionShape, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`function`'s attention, f32, of made-up sequences, the same for every function."""
    generator = torch.Generator().manual_seed(0)

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(device, dtype)

    lengths, counts = zip(*_TRIED, strict=True)
    tokens, blocks = sum(counts), 2 * len(lengths)
    query = 2 * random(tokens, shape.num_heads, shape.head_size)
    keys, values = (random(blocks, FLASH_BLOCK_SIZE, shape.num_kv_heads, shape.head_size) for _ in range(2))
    unused = torch.empty(0, dtype=torch.int64, device=device)
    step = StepInput(
        token_ids=torch.zeros(tokens, dtype=torch.int64, device=device),
        positions=unused,
        slot_mapping=unused,
        query_start_loc=torch.tensor((0, *counts)).cumsum(0).to(device, torch.int32),
        seq_lens=torch.tensor(lengths).to(device, torch.int32),
        block_table=torch.randperm(blocks, generator=generator).view(-1, 2).to(device, torch.int32),
        logits_indices=None,
        num_new_tokens=list(counts),
        starts=[length - count for length, count in _TRIED],
    )
    out = torch.zeros_like(query)
    with sdpa.torch_kernels():
        function(out, query, keys, values, step, shape.head_size**-0.5, shape.sliding_window)
    return out.float()
