import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.kernel_inputs import dtypes, randn, seeds
from vllm.kernels import cache

ONE = torch.ones(1)


def slots_for(tokens: int, slots: int, seed: int) -> torch.Tensor:
    """Distinct slots, some of them negative."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(slots, generator=generator)[:tokens]
    return torch.where(torch.rand(tokens, generator=generator) < 0.2, -1, chosen)


def written(slot_mapping: torch.Tensor):
    return [(token, slot) for token, slot in enumerate(slot_mapping.tolist()) if slot >= 0]


shapes = {
    "tokens": st.integers(0, 12),
    "heads": st.integers(1, 3),
    "head_size": st.sampled_from([16, 64, 80]),
    "block_size": st.sampled_from([1, 8, 16]),
    "dtype": dtypes,
    "seed": seeds,
}


@given(**shapes)
def test_reshape_and_cache(tokens, heads, head_size, block_size, dtype, seed):
    blocks, x = 16, 16 // dtype.itemsize
    key, value = randn((2, tokens, heads, head_size), dtype, seed)
    key_cache = randn((blocks, heads, head_size // x, block_size, x), dtype, seed + 1)
    value_cache = randn((blocks, heads, head_size, block_size), dtype, seed + 2)
    slots = slots_for(tokens, blocks * block_size, seed)
    expected_keys, expected_values = key_cache.clone(), value_cache.clone()
    for token, slot in written(slots):
        block, offset = divmod(slot, block_size)
        expected_keys[block, :, :, offset] = key[token].unflatten(-1, (-1, x))
        expected_values[block, :, :, offset] = value[token]
    cache.reshape_and_cache(key, value, key_cache, value_cache, slots, "auto", ONE, ONE)
    assert torch.equal(key_cache, expected_keys)
    assert torch.equal(value_cache, expected_values)


@given(**shapes, heads_first=st.booleans(), padding=st.integers(0, 2))
def test_reshape_and_cache_flash(tokens, heads, head_size, block_size, dtype, seed, heads_first, padding):
    blocks = 16
    # Key and value as they come: views into one projection, longer than the slot mapping where it is padded.
    qkv = randn((tokens + padding, 3, heads, head_size), dtype, seed)
    key, value = qkv[:, 1], qkv[:, 2]
    shape = (2, blocks, heads, block_size, head_size) if heads_first else (2, blocks, block_size, heads, head_size)
    both = randn(shape, dtype, seed + 1)
    key_cache, value_cache = both.transpose(2, 3) if heads_first else both
    slots = slots_for(tokens, blocks * block_size, seed)
    expected_keys, expected_values = key_cache.clone(), value_cache.clone()
    for token, slot in written(slots):
        expected_keys[slot // block_size, slot % block_size] = key[token]
        expected_values[slot // block_size, slot % block_size] = value[token]
    cache.reshape_and_cache_flash(key, value, key_cache, value_cache, slots, "auto", ONE, ONE)
    assert torch.equal(key_cache, expected_keys)
    assert torch.equal(value_cache, expected_values)


@given(**shapes, rope=st.integers(0, 9), padding=st.integers(0, 2))
def test_concat_and_cache_mla(tokens, heads, head_size, block_size, dtype, seed, rope, padding):
    latent = randn((tokens + padding, heads, head_size), dtype, seed)[:, 0]
    pe = randn((tokens + padding, rope), dtype, seed + 1)
    kv_cache = randn((16, block_size, head_size + rope + 3), dtype, seed + 2)[..., : head_size + rope]
    slots, expected = slots_for(tokens, 16 * block_size, seed), kv_cache.clone()
    for token, slot in written(slots):
        expected[slot // block_size, slot % block_size] = torch.cat((latent[token], pe[token]))
    cache.concat_and_cache_mla(latent, pe, kv_cache, slots, "auto", ONE)
    assert torch.equal(kv_cache, expected)


@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=6), dtype=dtypes, seed=seeds)
def test_swap_blocks(pairs, dtype, seed):
    src, dst = randn((6, 4, 8), dtype, seed), randn((8, 4, 8), dtype, seed + 1)
    expected = dst.clone()
    for source, destination in pairs:
        expected[destination] = src[source]
    mapping = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    cache.swap_blocks(src, dst, 4 * 8 * dtype.itemsize, mapping)
    assert torch.equal(dst, expected)


def store(slots=(0, 1), kv_cache_dtype="auto", key_cache=(4, 8, 2, 16), key=(2, 2, 16), value=(2, 2, 16)):
    shapes = torch.zeros(key), torch.zeros(value), torch.zeros(key_cache), torch.zeros(4, 8, 2, 16)
    cache.reshape_and_cache_flash(*shapes, torch.tensor(slots), kv_cache_dtype, ONE, ONE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slots": (0, 32)}, "slot_mapping holds slot 32, expected less than 32 = blocks . block_size"),
        ({"slots": (0, 1, 2)}, "slot_mapping has 3 entries, expected at most 2, the tokens of key"),
        ({"kv_cache_dtype": "fp8"}, "kv_cache_dtype is 'fp8', expected 'auto' on CPU"),
        ({"key_cache": (4, 8, 3, 16)}, r"key_cache has shape \[4, 8, 3, 16\], expected \[any, any, 2, 16\]"),
        ({"key_cache": (5, 8, 2, 16)}, "value_cache has shape .* as key_cache has"),
        ({"value": (2, 1, 16)}, "value has shape"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(RuntimeError, match="reshape_and_cache_flash: " + message):
        store(**arguments)


def test_classic_refusals():
    key, value = torch.zeros(2, 1, 2, 16)
    values = torch.zeros(4, 2, 16, 8)
    slots = torch.tensor([0])
    with pytest.raises(RuntimeError, match=r"key_cache has shape .* last dimension that divides head_size 16"):
        cache.reshape_and_cache(key, value, torch.zeros(4, 2, 5, 8, 3), values, slots, "auto", ONE, ONE)
    with pytest.raises(RuntimeError, match=r"key_cache has strides .* expected a contiguous tensor"):
        strided = torch.zeros(4, 2, 4, 4, 8).transpose(3, 4)
        cache.reshape_and_cache(key, value, strided, values, slots, "auto", ONE, ONE)


def test_latent_refusals():
    latent, pe, kv_cache, slots = torch.zeros(2, 16), torch.zeros(2, 4), torch.zeros(4, 8, 20), torch.tensor([0, 32])
    with pytest.raises(RuntimeError, match="concat_and_cache_mla: slot_mapping holds slot 32, expected less than 32"):
        cache.concat_and_cache_mla(latent, pe, kv_cache, slots, "auto", ONE)
    with pytest.raises(RuntimeError, match="kv_cache_dtype is 'fp8_ds_mla', expected 'auto' on CPU"):
        cache.concat_and_cache_mla(latent, pe, kv_cache, slots, "fp8_ds_mla", ONE)
    with pytest.raises(RuntimeError, match=r"kv_cache has shape \[4, 8, 20\], expected \[any, any, 19\]"):
        cache.concat_and_cache_mla(latent, pe[:, :3], kv_cache, slots, "auto", ONE)


def test_swap_refusals():
    src = torch.zeros(4, 8)
    with pytest.raises(RuntimeError, match="block_mapping holds block 4, expected 0 to 3 in dst"):
        cache.swap_blocks(src, src.clone(), 32, torch.tensor([[0, 4]]))
    with pytest.raises(RuntimeError, match="block_size_in_bytes is 0, expected at least 1"):
        cache.swap_blocks(src, src.clone(), 0, torch.tensor([[0, 1]]))
