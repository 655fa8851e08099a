import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.attention_case import pack_keys, pack_values
from support.kernel_inputs import assert_close, dtypes, randn, seeds
from vllm.kernels.qkv import qkv_norm_rope_cache
from vllm.kernels.quantized_cache import qkv_norm_rope_quantized_cache

BLOCKS, BLOCK_SIZE = 6, 8


def caches(kv_heads: int, head_size: int, dtype: torch.dtype) -> torch.Tensor:
    """The engine's layout: [2, blocks, kv_heads, block_size, head_size], seen with slots before heads."""
    return torch.zeros(2, BLOCKS, kv_heads, BLOCK_SIZE, head_size, dtype=dtype).transpose(2, 3)


@given(
    tokens=st.integers(0, 9), heads=st.integers(1, 4), kv_heads=st.integers(1, 2),
    sizes=st.sampled_from([(64, 64), (128, 128), (80, 32), (6, 6), (18, 18)]), dtype=dtypes, f32_table=st.booleans(),
    is_neox=st.booleans(), rotate=st.booleans(), normalize=st.booleans(), seed=seeds,
)  # fmt: skip
def test_against_separate_steps(
    tokens, heads, kv_heads, sizes, dtype, f32_table, is_neox, rotate, normalize, seed
):  # fmt: skip
    head_size, rotary_size = sizes
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randint(0, 50, (tokens,), generator=generator)
    slots = torch.randperm(BLOCKS * BLOCK_SIZE, generator=generator)[:tokens]
    slots[::4] = -1
    table = reference.cos_sin_cache(rotary_size, 50).to(torch.float32 if f32_table else dtype) if rotate else None
    weights = randn((2, head_size), dtype, seed) if normalize else (None, None)
    # One token more than is passed on: the token stride is not the row's size.
    qkv = randn((tokens, 2 * (heads + 2 * kv_heads) * head_size), dtype, seed)[:, : (heads + 2 * kv_heads) * head_size]
    original = qkv.clone()
    query, key, value = qkv.clone().unflatten(-1, (-1, head_size)).split((heads, kv_heads, kv_heads), dim=1)
    if normalize:
        query, key = (reference.rms_norm(x, w, 1e-6) for x, w in zip((query, key), weights, strict=True))
    if rotate:
        query, key = (reference.rotate(x, table[positions], is_neox) for x in (query, key))

    cache = caches(kv_heads, head_size, dtype)
    qkv_norm_rope_cache(
        qkv, positions, table, *weights, 1e-6, heads, kv_heads, head_size, is_neox, cache[0], cache[1], slots
    )

    assert_close(qkv[:, : heads * head_size], query.flatten(1))
    assert torch.equal(qkv[:, heads * head_size :], original[:, heads * head_size :])
    expected = torch.zeros(2, BLOCKS, BLOCK_SIZE, kv_heads, head_size, dtype=torch.float64)
    for token, slot in enumerate(slots.tolist()):
        if slot >= 0:
            expected[0, slot // BLOCK_SIZE, slot % BLOCK_SIZE] = key[token].double()
            expected[1, slot // BLOCK_SIZE, slot % BLOCK_SIZE] = value[token].double()
    assert_close(cache, expected)


@given(
    tokens=st.integers(0, 9), kv_heads=st.integers(1, 2), sizes=st.sampled_from([(64, 64), (80, 32), (8, 8)]),
    dtype=dtypes, normalize=st.booleans(), seed=seeds,
)  # fmt: skip
def test_packed_layout(tokens, kv_heads, sizes, dtype, normalize, seed):
    """The same keys and values as in rows, in other places."""
    head_size, rotary_size = sizes
    generator = torch.Generator().manual_seed(seed)
    slots = torch.randperm(BLOCKS * 16, generator=generator)[:tokens]
    slots[::4] = -1
    arguments = (
        torch.randint(0, 50, (tokens,), generator=generator), reference.cos_sin_cache(rotary_size, 50),
        *(randn((2, head_size), dtype, seed) if normalize else (None, None)), 1e-6, 2, kv_heads, head_size, True,
    )  # fmt: skip
    qkv = randn((tokens, (2 + 2 * kv_heads) * head_size), dtype, seed)
    rows = torch.zeros(2, BLOCKS, kv_heads, 16, head_size, dtype=dtype)
    packed = pack_keys(rows[0]), pack_values(rows[1])
    other = qkv.clone()
    qkv_norm_rope_cache(qkv, *arguments, *rows.transpose(2, 3), slots)
    qkv_norm_rope_cache(other, *arguments, *packed, slots)
    assert torch.equal(qkv, other)
    assert torch.equal(packed[0], pack_keys(rows[0])) and torch.equal(packed[1], pack_values(rows[1]))


def call(qkv=(2, 64), positions=(0, 1), table=(8, 16), weight=(16,), cache=(4, 8, 1, 16), slots=(0, 1), head_size=16):
    k, v = torch.zeros(2, *cache)
    qkv_norm_rope_cache(
        torch.zeros(qkv), torch.tensor(positions), torch.zeros(table), torch.zeros(weight), None, 1e-6, 2, 1,
        head_size, True, k, v, torch.tensor(slots),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"qkv": (2, 60)}, r"qkv has shape \[2, 60\], expected \[any, 64\]"),
        ({"positions": (0,)}, r"positions has shape \[1\], expected \[2\] = \[tokens\]"),
        ({"positions": (0, 9)}, "positions holds 9, expected 0 to 7"),
        ({"slots": (0, 32)}, "slot_mapping holds slot 32, expected less than 32"),
        ({"weight": (8,)}, r"q_weight has shape \[8\], expected \[16\]"),
        ({"cache": (4, 8, 2, 16)}, r"key_cache has shape .* expected \[any, any, 1, 16\]"),
        ({"table": (8, 32)}, "cos_sin_cache has shape .* at most 16, the head size"),
        ({"head_size": -1}, "head_size -1"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(RuntimeError, match="qkv_norm_rope_cache: .*" + message):
        call(**arguments)


@pytest.mark.parametrize("code", [None, torch.int8])
def test_odd_heads_are_no_pairs(code):
    qkv, positions, slots = torch.zeros(1, 27, dtype=torch.bfloat16), torch.zeros(1).long(), torch.zeros(1).long()
    keys, values = (torch.zeros(shape, dtype=code or qkv.dtype) for shape in ((1, 1, 4, 16, 2), (1, 1, 8, 9, 2)))
    op, scales = (qkv_norm_rope_quantized_cache, torch.ones(2, 1)) if code else (qkv_norm_rope_cache, ())
    with pytest.raises(RuntimeError, match="key_cache comes with head_size 9, expected a multiple of 2 for the packed"):
        op(qkv, positions, None, None, None, 1e-6, 1, 1, 9, True, keys, values, *scales, slots)
