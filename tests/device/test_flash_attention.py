"""paged_attention_varlen: ragged batches of prefill and decode over a cache in rows."""

import math

import pytest
import torch

from support.attention_case import AttentionCase
from support.device_ops import Ops

ops = Ops("_C")
MIXED = ((1, 1), (77, 1), (40, 40), (50, 7), (0, 0), (19, 2))


def run(case):
    out = torch.full(case.query.shape, math.nan, dtype=case.dtype)
    lse = torch.full((case.heads, len(case.query)), math.nan)
    inputs = case.arguments(case.query, case.query_start_loc, case.seq_lens, case.block_table)
    ops.paged_attention_varlen(out, *inputs, lse)
    return out, lse


def check(case):
    out, lse = run(case)
    expected, expected_lse = case.expected()
    # Weights are rounded to the 16-bit type before they meet values of about 1.
    step = 2**-8 if case.dtype is torch.bfloat16 else 2**-10
    torch.testing.assert_close(out.double(), expected, rtol=2 * step, atol=2 * step)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 1), (14, 2)])
def test_mixed_batches(dtype, heads, kv_heads):
    check(AttentionCase(MIXED, dtype, heads=heads, kv_heads=kv_heads))


@pytest.mark.parametrize("head_size", [32, 64, 80, 128, 192, 256])
def test_head_sizes(head_size):
    check(AttentionCase(((45, 3), (20, 20)), torch.bfloat16, heads=2, kv_heads=1, head_size=head_size, block_size=8))


@pytest.mark.parametrize(
    "options",
    [{"sliding_window": 9}, {"soft_cap": 0.7}, {"alibi": True}, {"sliding_window": 40, "alibi": True, "soft_cap": 5.0}],
    ids=str,
)
def test_options(options):
    check(AttentionCase(((100, 100), (70, 2)), torch.float16, heads=2, kv_heads=1, **options))


def test_large_logits_do_not_overflow():
    case = AttentionCase(((90, 30),), torch.float16, heads=2, kv_heads=2)
    case.query.mul_(300)
    out, _ = run(case)
    torch.testing.assert_close(out.double(), case.expected()[0], rtol=2e-3, atol=2e-3)


def test_refusals():
    with pytest.raises(RuntimeError, match="query is float32, expected float16"):
        run(AttentionCase(((5, 1),)))
    with pytest.raises(RuntimeError, match="has 3 heads, expected a multiple of the 2 KV heads"):
        run(AttentionCase(((5, 1),), torch.float16, heads=3))
