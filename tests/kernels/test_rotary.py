import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.kernel_inputs import assert_close, dtypes, randn, seeds
from vllm.kernels.rotary import rotary_embedding

# (head size, rotary size): whole and partial rotation, sizes that no vector length divides.
sizes = st.sampled_from([(64, 64), (128, 128), (80, 32), (96, 96), (6, 6), (20, 10), (256, 64), (2, 2)])


@given(
    tokens=st.integers(0, 9), heads=st.integers(1, 4), kv_heads=st.integers(0, 2), sizes=sizes, dtype=dtypes,
    f32_table=st.booleans(), is_neox=st.booleans(), seed=seeds,
)  # fmt: skip
def test_rotary_embedding(tokens, heads, kv_heads, sizes, dtype, f32_table, is_neox, seed):
    head_size, rotary_size = sizes
    table = reference.cos_sin_cache(rotary_size, 50).to(torch.float32 if f32_table else dtype)
    positions = torch.randint(0, 50, (tokens,), generator=torch.Generator().manual_seed(seed))
    # Query and key as they come: two views into one projection.
    both = randn((tokens, (heads + kv_heads) * head_size), dtype, seed)
    query, key = both[:, : heads * head_size], both[:, heads * head_size :]
    expected = [
        reference.rotate(x.unflatten(-1, (-1, head_size)), table[positions], is_neox).flatten(-2)
        for x in (query, key)
        if x.shape[1]
    ]
    rotary_embedding(positions, query, key if kv_heads else None, head_size, table, is_neox)
    assert_close(query, expected[0])
    if kv_heads:
        assert_close(key, expected[1])


@pytest.mark.parametrize("is_neox", [True, False])
@pytest.mark.parametrize("split_heads", [True, False])
def test_batched_positions(is_neox, split_heads):
    positions = torch.tensor([[3, 1, 4], [1, 5, 9]])
    table = reference.cos_sin_cache(16, 10)
    query = randn((2, 3, 5, 16), torch.float32, 0)
    key = randn((2, 5, 3, 16), torch.float32, 1).transpose(1, 2)  # heads before tokens in memory
    expected = [reference.rotate(x, table[positions], is_neox) for x in (query, key)]
    rotary_embedding(positions, query if split_heads else query.flatten(-2), key, 16, table, is_neox)
    assert_close(query, expected[0])
    assert_close(key, expected[1])


@pytest.mark.parametrize("is_neox", [True, False])
@pytest.mark.parametrize("table_dtype", [torch.float32, torch.bfloat16])
def test_elements_further_on_and_back_again(is_neox, table_dtype):
    positions, table = torch.tensor([3, 1]), reference.cos_sin_cache(20, 10).to(table_dtype)
    query, key = randn((2, 2, 3, 36), torch.bfloat16, 0)
    before = query.clone(), key.clone()
    rotary_embedding(positions, query, key, 36, table, is_neox, rope_dim_offset=7)
    for x, given_ in zip((query, key), before, strict=True):
        assert_close(x[..., 7:], reference.rotate(given_[..., 7:], table[positions], is_neox))
        assert torch.equal(x[..., :7], given_[..., :7])
    rotary_embedding(positions, query, key, 36, table, is_neox, 7, True)
    for x, given_ in zip((query, key), before, strict=True):
        torch.testing.assert_close(x, given_, rtol=0.02, atol=0.02)


def call(positions=(0, 1), query=(2, 32), key=(2, 16), head_size=16, table=(8, 16), dtype=torch.float32, offset=0):
    rotary_embedding(
        torch.tensor(positions), torch.zeros(query, dtype=dtype), torch.zeros(key), head_size, torch.zeros(table),
        rope_dim_offset=offset,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positions": (0, 8)}, "positions holds 8, expected 0 to 7, the rows of cos_sin_cache"),
        ({"positions": (-1, 0)}, "positions holds -1"),
        ({"positions": (0.0, 1.0)}, "positions is float32, expected int64"),
        ({"query": (2, 30)}, r"query has shape \[2, 30\], expected \[2\] .* head_size 16"),
        ({"key": (3, 16)}, r"key has shape \[3, 16\]"),
        ({"table": (8, 18)}, "expected .* an even rotary_size of at most 16, the head size"),
        ({"table": (8, 7)}, "expected .* an even rotary_size"),
        ({"table": (8, 12), "offset": 5}, "rope_dim_offset 5, expected 0 to 4 = head_size - rotary_size"),
        ({"offset": -1}, "rope_dim_offset -1, expected 0 to 0"),
        ({"head_size": 2048}, "head_size 2048, expected 1 to 1024"),
        ({"dtype": torch.float64}, "query is float64"),
        ({"dtype": torch.float16}, "key is float32, expected float16 as query is"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(RuntimeError, match="rotary_embedding: .*" + message):
        call(**arguments)
