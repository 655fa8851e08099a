import pytest
import torch

from support.device_cases import cache_values
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, randn

ops = Ops("_C_cache_ops")
BLOCKS, HEADS = 6, 3
K_SCALE, V_SCALE = torch.tensor([0.4]), torch.tensor([1.7])
CACHE_DTYPES = ["auto", "fp8", "fp8_e5m2"]


def empty_cache(shape, dtype, kv_cache_dtype):
    kind = dtype if kv_cache_dtype == "auto" else torch.uint8
    return torch.full(shape, 7, dtype=kind)


def stored(x, kv_cache_dtype, scale):
    values = cache_values(x, kv_cache_dtype, scale)
    return values if kv_cache_dtype == "auto" else values.view(torch.uint8)


def key_value(tokens, head_size, dtype, seed=0):
    """Views into one projection, as models have them."""
    qkv = randn((tokens, 3, HEADS, head_size), dtype, seed, 3.0)
    return qkv[:, 1], qkv[:, 2]


def slots_for(tokens, block_size):
    """Distinct slots in no order, one skipped; padding tokens beyond the mapping; one slot outside the cache."""
    slots = torch.randperm(BLOCKS * block_size, generator=torch.Generator().manual_seed(1))[: tokens - 2]
    slots[1] = -1
    slots[3] = BLOCKS * block_size
    return slots


def written(slots, block_size):
    return [(token, *divmod(slot, block_size)) for token, slot in enumerate(slots.tolist())
            if 0 <= slot < BLOCKS * block_size]  # fmt: skip


@pytest.mark.parametrize("kv_cache_dtype", CACHE_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("head_size", "block_size"), [(64, 16), (80, 8), (48, 32)])
def test_reshape_and_cache(dtype, kv_cache_dtype, head_size, block_size):
    key, value = key_value(9, head_size, dtype)
    x = 16 // (dtype.itemsize if kv_cache_dtype == "auto" else 1)
    keys = empty_cache((BLOCKS, HEADS, head_size // x, block_size, x), dtype, kv_cache_dtype)
    values = empty_cache((BLOCKS, HEADS, head_size, block_size), dtype, kv_cache_dtype)
    expected_keys, expected_values = keys.clone(), values.clone()
    slots = slots_for(9, block_size)
    for token, block, offset in written(slots, block_size):
        expected_keys[block, :, :, offset] = stored(key[token], kv_cache_dtype, K_SCALE).unflatten(-1, (-1, x))
        expected_values[block, :, :, offset] = stored(value[token], kv_cache_dtype, V_SCALE)
    ops.reshape_and_cache(key, value, keys, values, slots, kv_cache_dtype, K_SCALE, V_SCALE)
    assert torch.equal(keys, expected_keys)
    assert torch.equal(values, expected_values)


@pytest.mark.parametrize("kv_cache_dtype", CACHE_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("head_size", "heads_first"), [(64, False), (80, True), (17, False)])
def test_reshape_and_cache_flash(dtype, kv_cache_dtype, head_size, heads_first):
    block_size = 16
    key, value = key_value(9, head_size, dtype)
    shape = (2, BLOCKS, HEADS, block_size, head_size) if heads_first else (2, BLOCKS, block_size, HEADS, head_size)
    both = empty_cache(shape, dtype, kv_cache_dtype)
    keys, values = both.transpose(2, 3) if heads_first else both
    expected_keys, expected_values = keys.clone(), values.clone()
    slots = slots_for(9, block_size)
    for token, block, offset in written(slots, block_size):
        expected_keys[block, offset] = stored(key[token], kv_cache_dtype, K_SCALE)
        expected_values[block, offset] = stored(value[token], kv_cache_dtype, V_SCALE)
    ops.reshape_and_cache_flash(key, value, keys, values, slots, kv_cache_dtype, K_SCALE, V_SCALE)
    assert torch.equal(keys, expected_keys)
    assert torch.equal(values, expected_values)


@pytest.mark.parametrize("head_size", [64, 17])
def test_a_scale_for_each_head(head_size):
    key, value = key_value(9, head_size, torch.bfloat16)
    k_scale, v_scale = torch.tensor([0.4, 1.0, 0.1]), torch.tensor([[1.7, 0.3, 2.0], [9.0, 9.0, 9.0]]).t()[:, 0]
    keys, values = torch.zeros(2, BLOCKS, 16, HEADS, head_size, dtype=torch.uint8)
    slots = slots_for(9, 16)
    ops.reshape_and_cache_flash(key, value, keys, values, slots, "fp8", k_scale, v_scale)
    for token, block, offset in written(slots, 16):
        assert torch.equal(keys[block, offset], stored(key[token], "fp8", k_scale.unsqueeze(1)))
        assert torch.equal(values[block, offset], stored(value[token], "fp8", v_scale.unsqueeze(1)))
    with pytest.raises(RuntimeError, match=r"k_scale has shape \[2\], expected \[3\] = \[heads\], or one value"):
        ops.reshape_and_cache_flash(key, value, keys, values, slots, "fp8", k_scale[:2], v_scale)


@pytest.mark.parametrize("kv_cache_dtype", CACHE_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rank", "rope"), [(512, 64), (33, 7)])
def test_concat_and_cache_mla(dtype, kv_cache_dtype, rank, rope):
    block_size = 8
    latent, pe = randn((9, rank + 5), dtype, 1)[:, :rank], randn((9, rope), dtype, 2)
    cache = empty_cache((BLOCKS, block_size, rank + rope), dtype, kv_cache_dtype)
    expected, slots = cache.clone(), slots_for(9, block_size)
    for token, block, offset in written(slots, block_size):
        expected[block, offset] = stored(torch.cat((latent[token], pe[token])), kv_cache_dtype, K_SCALE)
    ops.concat_and_cache_mla(latent, pe, cache, slots, kv_cache_dtype, K_SCALE)
    assert torch.equal(cache, expected)


def paged_rows(lengths, block_size, width, dtype, starts):
    """A cache that holds rows for `lengths` tokens after `starts` of each sequence: cache, table, offsets, rows."""
    blocks = [-(-(length + start) // block_size) for length, start in zip(lengths, starts, strict=True)]
    cache = randn((sum(blocks), block_size, width), dtype, 3)
    order = torch.randperm(sum(blocks), generator=torch.Generator().manual_seed(2)).int()
    table = torch.full((len(lengths), max(blocks)), -1, dtype=torch.int32)
    rows, used = [], 0
    for seq, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        table[seq, : blocks[seq]] = order[used : used + blocks[seq]]
        used += blocks[seq]
        positions = torch.arange(start, start + length)
        rows.append(cache[table[seq, positions // block_size].long(), positions % block_size])
    offsets = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    return cache, table, offsets, torch.cat(rows)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.uint8, torch.float8_e4m3fn])
@pytest.mark.parametrize("width", [576, 21])
@pytest.mark.parametrize("starts", [None, (16, 0, 32), (3, 17, 5)])
def test_cp_gather_cache(dtype, width, starts):
    cache, table, offsets, rows = paged_rows((5, 16, 1), 16, width, dtype, starts or (0, 0, 0))
    out = torch.full((24, width), 7, dtype=dtype)
    seq_starts = torch.tensor(starts, dtype=torch.int32) if starts else None
    ops.cp_gather_cache(cache, out, table, offsets, 3, seq_starts)
    assert torch.equal(out[:22].float(), rows.float())
    assert (out[22:].float() == 7).all()


@pytest.mark.parametrize("kv_cache_dtype", CACHE_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_and_maybe_dequant_cache(dtype, kv_cache_dtype):
    lengths = (5, 0, 9)
    cache, table, offsets, rows = paged_rows(lengths, 4, 64, dtype, (0, 0, 0))
    held, expected = stored(cache, kv_cache_dtype, K_SCALE), rows
    if kv_cache_dtype != "auto":
        expected = (cache_values(rows, kv_cache_dtype, K_SCALE).float() * K_SCALE).to(dtype)
    seq_of = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths)).int()
    out = torch.empty(14, 64, dtype=dtype)
    ops.gather_and_maybe_dequant_cache(
        held, out, table, offsets, seq_of, 14, kv_cache_dtype, K_SCALE, None
    )  # fmt: skip
    assert torch.equal(out, expected)


def test_swap_blocks():
    src, dst = torch.randn(4, 6), torch.randn(5, 6)
    expected = dst.clone()
    expected[[4, 0]] = src[[1, 3]]
    ops.swap_blocks(src, dst, 24, torch.tensor([[1, 4], [3, 0]]))
    assert torch.equal(dst, expected)


def test_refusals():
    key, value = key_value(9, 64, torch.bfloat16)
    keys, values = torch.zeros(2, BLOCKS, 16, HEADS, 64, dtype=torch.bfloat16)

    def write(slots=9, kv_cache_dtype="auto", cache=keys, scale=K_SCALE):
        mapping = torch.arange(slots)
        ops.reshape_and_cache_flash(key, value, cache, values, mapping, kv_cache_dtype, scale, V_SCALE)

    with pytest.raises(RuntimeError, match="slot_mapping has 10 entries, expected at most 9, the tokens of key"):
        write(slots=10)
    with pytest.raises(RuntimeError, match="kv_cache_dtype is 'int4', expected 'auto', 'fp8', 'fp8_e4m3' or"):
        write(kv_cache_dtype="int4")
    with pytest.raises(RuntimeError, match="concat_and_cache_mla: kv_cache_dtype is 'fp8_ds_mla', expected 'auto'"):
        codes = torch.zeros(2, 16, 70, dtype=torch.uint8)
        ops.concat_and_cache_mla(key[:, 0], value[:, 0], codes, torch.arange(9), "fp8_ds_mla", K_SCALE)
    with pytest.raises(RuntimeError, match="key_cache is bfloat16, expected float8_e4m3fn"):
        write(kv_cache_dtype="fp8")
    with pytest.raises(RuntimeError, match=r"key_cache has shape .*\[blocks, block_size, heads, head_size\]"):
        write(cache=keys[:, :, :2])
    with pytest.raises(RuntimeError, match="block_mapping holds block 5, expected 0 to 4 in dst"):
        ops.swap_blocks(torch.zeros(4, 6), torch.zeros(5, 6), 24, torch.tensor([[1, 5]]))
