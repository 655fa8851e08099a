"""paged_attention_v1 and _v2: decode over the cache layout that splits keys into vectors of 16 bytes."""

import math

import pytest
import torch

from support.attention_case import AttentionCase
from support.device_cases import K_SCALE, V_SCALE, cache_values, classic_caches
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, assert_close

ops = Ops("_C")


def round_cache(case, kv_cache_dtype):
    """Makes the case expect what the 8-bit cache holds."""
    for keys_values in case.keys_values:
        for values, scale in zip(keys_values, (K_SCALE, V_SCALE), strict=True):
            values.copy_(cache_values(values, kv_cache_dtype, scale).float() * scale)


def run(version, case, kv_cache_dtype="auto", partitions=None):
    seqs, longest = len(case.seq_lens), int(case.seq_lens.max())
    partitions = partitions or max(1, math.ceil(longest / 512))
    out = torch.full(case.query.shape, math.nan, dtype=case.dtype)
    workspace = (torch.full((seqs, case.heads, partitions), math.nan), torch.empty(seqs, case.heads, partitions),
                 torch.empty(seqs, case.heads, partitions, case.head_size, dtype=case.dtype))  # fmt: skip
    getattr(ops, f"paged_attention_v{version}")(
        out, *(workspace if version == 2 else ()), case.query, *classic_caches(case, kv_cache_dtype), case.kv_heads,
        case.scale, case.block_table, case.seq_lens, case.block_size, longest, case.slopes, kv_cache_dtype,
        K_SCALE, V_SCALE, 0, 0, 0, 0, 0,
    )  # fmt: skip
    return out


def check(out, case):
    # Logits are sums over head_size, outputs weighted means of values of about 1.
    torch.testing.assert_close(out.double(), case.expected()[0].double(), rtol=2e-3, atol=1e-5 + RTOL[case.dtype])


RTOL = {torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-10}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 1), (14, 2)])
def test_groups_of_heads(version, dtype, heads, kv_heads):
    case = AttentionCase(((1, 1), (77, 1)), dtype, heads=heads, kv_heads=kv_heads)
    check(run(version, case), case)


@pytest.mark.parametrize("head_size", [32, 64, 80, 96, 112, 120, 128, 192, 256])
@pytest.mark.parametrize("block_size", [8, 16, 32])
def test_shapes(head_size, block_size):
    case = AttentionCase(((45, 1),), torch.bfloat16, heads=2, kv_heads=1, head_size=head_size, block_size=block_size)
    check(run(1, case), case)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("alibi", [False, True])
def test_several_tiles_and_partitions(version, alibi):
    case = AttentionCase(((1030, 1), (3, 1), (512, 1), (257, 1)), heads=4, kv_heads=1, head_size=32, alibi=alibi)
    check(run(version, case), case)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kv_cache_dtype", ["fp8", "fp8_e5m2"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "block_size"), [(1, 8), (4, 16), (6, 32)])
def test_8_bit_cache(version, kv_cache_dtype, dtype, heads, block_size):
    case = AttentionCase(((33, 1), (70, 1)), dtype, heads=heads, kv_heads=1, block_size=block_size)
    out = run(version, case, kv_cache_dtype)
    round_cache(case, kv_cache_dtype)
    check(out, case)


@pytest.mark.parametrize("version", [1, 2])
def test_empty_sequence_gives_zeros(version):
    case = AttentionCase(((5, 1), (5, 1)))
    case.seq_lens[1] = 0
    assert run(version, case)[1].count_nonzero() == 0


def test_large_logits_do_not_overflow():
    case = AttentionCase(((600, 1),), heads=2, kv_heads=2)
    case.query.mul_(300)
    check(run(1, case), case)


def test_more_partitions_than_needed():
    case = AttentionCase(((600, 1), (3, 1)))
    check(run(2, case, partitions=5), case)


def test_refusals():
    case = AttentionCase(((600, 1),), head_size=64)
    with pytest.raises(RuntimeError, match="exp_sums has 1 partitions of 512 tokens, expected enough for max_seq_len"):
        run(2, case, partitions=1)
    with pytest.raises(RuntimeError, match="query is float32, expected bfloat16 or float16 with an 8-bit cache"):
        run(1, case, "fp8")
    with pytest.raises(RuntimeError, match="comes with block_size 4, expected 8, 16 or 32"):
        run(1, AttentionCase(((6, 1),), block_size=4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head_size", [64, 17])
def test_merge_attn_states(dtype, head_size):
    from support import kernel_reference as reference
    from support.kernel_inputs import randn

    parts = randn((2, 5, 3, head_size), dtype, 0)
    lses = randn((2, 3, 5), torch.float32, 1, 5.0)
    lses[0, 0, 1], lses[1, 1, 2], lses[:, 2, 3] = -math.inf, math.inf, -math.inf
    parts[0, 1, 0], parts[1, 2, 1] = math.nan, math.nan
    expected, lse = reference.merge_attn_states(
        parts[0].nan_to_num(), lses[0], parts[1].nan_to_num(), lses[1].where(lses[1] != math.inf, -math.inf)
    )
    expected[3, 2] = parts[0, 3, 2].double()
    out, out_lse = torch.empty_like(parts[0]), torch.empty(3, 5)
    ops.merge_attn_states(out, out_lse, parts[0], lses[0], parts[1], lses[1])
    assert_close(out, expected)
    assert_close(out_lse, lse)
