from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.attention_case import AttentionCase
from support.forked import fork, wait_for
from support.guarded_memory import guarded
from support.kernel_inputs import DTYPES, assert_close, seeds

# (context, query tokens): decode, prefill and chunks, over several tiles (64) and parts (256) of positions.
sequences = st.lists(
    st.tuples(st.integers(0, 600), st.one_of(st.just(1), st.integers(0, 140))).map(lambda s: (sum(s), s[1])),
    min_size=1,
    max_size=5,
).filter(lambda s: sum(query_len for _, query_len in s) > 0 and min(length for length, _ in s) > 0)
head_counts = st.sampled_from([(1, 1), (2, 1), (3, 3), (9, 3), (14, 2), (6, 1), (16, 4)])
cases = st.builds(
    lambda heads, **fields: AttentionCase(heads=heads[0], kv_heads=heads[1], **fields),
    head_counts,
    sequences=sequences.map(tuple),
    dtype=st.sampled_from(DTYPES),
    head_size=st.sampled_from([8, 32, 64, 80, 96, 112, 120, 128, 192, 256]),
    block_size=st.sampled_from([1, 8, 16, 24, 32, 128]),
    sliding_window=st.sampled_from([0, 0, 1, 33, 64, 300]),
    soft_cap=st.sampled_from([0.0, 0.0, 5.0, 50.0]),
    alibi=st.booleans(),
    seed=seeds,
)


def check(case: AttentionCase) -> None:
    (out, lse), (expected, expected_lse) = case.run(), case.expected()
    # bf16 probabilities are rounded before they meet the values, as on GPUs.
    assert_close(out, expected, terms=2.0)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-5, atol=2e-5)


@given(cases)
def test_attention(case):
    check(case)


@given(cases, st.integers(1, 3))
def test_packed_layout_gives_the_same_bits(case, blocks):
    """Rows of decoding run through a kernel of their own there."""
    rows = replace(case, block_size=16 * blocks)
    packed = replace(rows, packed=True)
    (out, lse), (expected, expected_lse) = packed.run(), rows.run()
    assert torch.equal(out, expected) and torch.equal(lse, expected_lse)


@given(cases, st.integers(1, 70))
def test_result_does_not_depend_on_batch_or_chunks(case, chunk):
    out, _ = case.run()
    for seq, (start, end) in enumerate(case.query_start_loc.unfold(0, 2, 1).tolist()):
        if start < end:
            assert torch.equal(case.run_chunks(seq, chunk), out[start:end])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sequences", [((1500, 1),), ((900, 300), (40, 1), (700, 1)), ((600, 600),)])
def test_result_does_not_depend_on_threads(dtype, sequences, packed):
    case, threads = AttentionCase(sequences, dtype, packed=packed), torch.get_num_threads()
    out, lse = case.run()
    try:
        torch.set_num_threads(1)
        single = case.run()
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(out, single[0]) and torch.equal(lse, single[1])


def test_large_logits_do_not_overflow():
    case = AttentionCase(((300, 300),))
    case.query.mul_(1000.0)
    # f32 leaves an error of 1e-3 in logits of this size, and so in the probabilities.
    torch.testing.assert_close(case.run()[0].double(), case.expected()[0], rtol=0, atol=1e-2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("length", "packed"), [(112, True), (12, False)])
def test_reads_end_with_the_tensors(dtype, length, packed):
    """A table of the blocks that there are, which hold more than the sequence; a last row of queries."""
    case = AttentionCase(((length, 1),), dtype, block_size=64, packed=packed)
    object.__setattr__(case, "query", guarded(case.query))
    object.__setattr__(case, "block_table", guarded(case.block_table[:, : -(-length // 64)]))
    wait_for(fork(case.run))


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype):
    case = AttentionCase(((20, 3), (5, 5)), dtype, alibi=True)
    out, lse = torch.empty(case.query.shape, dtype=dtype), torch.empty(case.heads, 8)
    arguments = case.arguments(case.query, case.query_start_loc, case.seq_lens, case.block_table)
    torch.library.opcheck(torch.ops._C.paged_attention_varlen.default, (out, *arguments, lse))


def refused(message: str, case: AttentionCase, **changes: object) -> None:
    for name, value in changes.items():
        object.__setattr__(case, name, value)
    with pytest.raises(RuntimeError, match=f"paged_attention_varlen: {message}"):
        case.run()


def ints(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def test_refusals():
    def case() -> AttentionCase:
        return AttentionCase(((40, 3),))

    refused("seq_lens has 2 at 0, expected at least the sequence's 3 query tokens", case(), seq_lens=ints(2))
    refused("block_table has 4 blocks a sequence, expected 5 for the length 70", case(), seq_lens=ints(70))
    refused("block_table has block 9 at 0, expected 0 to 4", case(), block_table=ints(0, 9, 1).unsqueeze(0))
    refused("block_table is int64, expected int32", case(), block_table=torch.zeros(1, 3, dtype=torch.int64))
    refused("query has 3 tokens, which query_start_loc leaves at 0", case(), query_start_loc=ints(0, 4))
    refused(r"query_start_loc has shape \[3\], expected \[2\]", case(), query_start_loc=ints(0, 3, 3))
    refused("query comes with sliding_window -1", case(), sliding_window=-1)
    refused("query comes with sliding_window 0 and soft_cap -2", case(), soft_cap=-2.0)
    refused(r"alibi_slopes has shape \[3\], expected \[4\]", case(), slopes=torch.ones(3))
    refused("key_cache is float16, expected float32 as query is", case(), key_cache=case().key_cache.half())
    empty = case().key_cache[:, :0]
    refused("key_cache has block_size 0, expected at least 1", case(), key_cache=empty, value_cache=empty)
    refused("query has head size 12, expected a multiple of 8 up to 256", AttentionCase(((4, 1),), head_size=12))
    packed = AttentionCase(((40, 3),), packed=True)
    refused(
        "key_cache has block_size 8, expected a positive multiple of 16",
        AttentionCase(((4, 1),), packed=True, block_size=8),
    )
    refused("value_cache has shape", packed, value_cache=packed.value_cache[:2])
    refused("key_cache has block_size 0, expected a posi", packed, key_cache=packed.key_cache[:, :, :, :0])
    refused("query has 5 heads, expected a multiple of the 2 KV heads", AttentionCase(((4, 1),), heads=5))
