"""The KV cache in 8 bits: the same codes and scales as torch makes, and attention over what they stand for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.attention_case import pack_keys, pack_values
from support.kernel_inputs import DTYPES, assert_close, dtypes, randn, seeds
from support.quantized_cache import CODES, QuantizedCase, quantize
from vllm.kernels.qkv import qkv_norm_rope_cache
from vllm.kernels.quantized_cache import qkv_norm_rope_quantized_cache

# (context, query tokens): decode, prefill and chunks, over several tiles (64) and parts (256) of positions.
sequences = st.lists(
    st.tuples(st.integers(0, 600), st.one_of(st.just(1), st.integers(1, 140))).map(lambda s: (sum(s), s[1])),
    min_size=1,
    max_size=4,
)
codes, scales = st.sampled_from(CODES), st.sampled_from([None, 0.031])
cases = st.builds(
    lambda heads, **fields: QuantizedCase(heads=heads[0], kv_heads=heads[1], **fields),
    st.sampled_from([(1, 1), (2, 1), (3, 3), (9, 3), (14, 2), (16, 4)]),
    sequences=sequences.map(tuple),
    dtype=dtypes,
    head_size=st.sampled_from([8, 24, 64, 80, 128, 256]),
    block_size=st.sampled_from([16, 32, 48, 128]),
    sliding_window=st.sampled_from([0, 0, 33, 300]),
    soft_cap=st.sampled_from([0.0, 0.0, 5.0]),
    alibi=st.booleans(),
    seed=seeds,
    code=codes,
    static_scale=scales,
)


@given(cases)
def test_attention(case):
    """Codes and scales are used as they are: no rounding but that of probabilities and results."""
    (out, lse), (expected, expected_lse) = case.run(), case.expected()
    assert_close(out, expected, terms=2.0)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-5, atol=4e-5)


@given(cases, st.integers(1, 70))
def test_attention_does_not_depend_on_batch_or_chunks(case, chunk):
    """Chunks of one token run through the kernel for decoding, longer ones through that for prompts."""
    out, _ = case.run()
    for seq, (start, end) in enumerate(case.query_start_loc.unfold(0, 2, 1).tolist()):
        assert torch.equal(case.run_chunks(seq, chunk), out[start:end])


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_does_not_depend_on_threads(dtype):
    case, threads = QuantizedCase(((1500, 1), (900, 300), (40, 1)), dtype), torch.get_num_threads()
    out, _ = case.run()
    try:
        torch.set_num_threads(1)
        assert torch.equal(case.run()[0], out)
    finally:
        torch.set_num_threads(threads)


@given(
    tokens=st.integers(1, 9), kv_heads=st.integers(1, 2), head_size=st.sampled_from([8, 64, 80]), dtype=dtypes,
    code=codes, scale=scales, size=st.sampled_from([1e-4, 1.0, 30.0]), seed=seeds,
)  # fmt: skip
def test_store(tokens, kv_heads, head_size, dtype, code, scale, size, seed):
    """What the op for caches in floating point stores, quantised; the queries are the same."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 6, kv_heads, 16, head_size)
    slots = torch.randperm(6 * 16, generator=generator)[:tokens]
    slots[1::4] = -1
    weights = randn((2, head_size), dtype, seed)
    arguments = (torch.arange(tokens), reference.cos_sin_cache(8, 50), *weights, 1e-6, 2, kv_heads, head_size, True)
    qkv = randn((tokens, (2 + 2 * kv_heads) * head_size), dtype, seed, size)
    qkv[0] = 0
    other, floats = qkv.clone(), torch.zeros(shape, dtype=dtype)
    qkv_norm_rope_cache(other, *arguments, *floats.transpose(2, 3), slots)

    quantized, own_scales = quantize(floats, code, scale)
    expected = [pack(q, dtype) for pack, q in zip((pack_keys, pack_values), quantized.view(torch.uint8), strict=True)]
    caches = [torch.zeros_like(e).view(code) for e in expected]
    stored = torch.zeros(shape[:-1]) if scale is None else torch.full((2, 1), scale)
    qkv_norm_rope_quantized_cache(qkv, *arguments, *caches, *stored, slots)
    assert torch.equal(qkv, other)
    assert torch.equal(stored, own_scales if scale is None else torch.full((2, 1), scale))
    for cache, codes in zip(caches, expected, strict=True):
        assert torch.equal(cache.view(torch.uint8), codes)


@pytest.mark.parametrize("scale", [None, 0.5])
def test_opcheck(scale):
    case = QuantizedCase(((20, 3), (5, 5)), torch.bfloat16, alibi=True, static_scale=scale)
    out, lse = torch.empty(case.query.shape, dtype=case.dtype), torch.empty(case.heads, 8)
    query, keys, values, *others = case.arguments(case.query, case.query_start_loc, case.seq_lens, case.block_table)
    cache = (keys, values, case.k_scale, case.v_scale)
    torch.library.opcheck(torch.ops._C.paged_attention_varlen_quantized.default, (out, query, *cache, *others, lse))
    qkv, slots = randn((2, 512), case.dtype, 0), torch.tensor([0, 17])
    arguments = (qkv, torch.arange(2), None, None, None, 1e-6, 4, 2, 64, True, *cache, slots)
    torch.library.opcheck(torch.ops._C.qkv_norm_rope_quantized_cache.default, arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key_cache": torch.zeros(4, 2, 64, 16, 1)}, "key_cache is not quantised, expected int8, float8_e4m3fn or"),
        ({"value_cache": torch.zeros(4).to(torch.float8_e5m2)}, "value_cache is float8_e5m2, expected int8 as key_cac"),
        ({"k_scale": torch.ones(2, 2)}, r"k_scale has shape \[2, 2\], expected \[5, 2, 16\] = .* or one scale"),
        ({"k_scale": torch.ones(2)}, r"k_scale has shape \[2\], expected \[1\]"),
        ({"k_scale": torch.ones(1).double()}, "k_scale is float64, expected float32"),
        ({"v_scale": torch.ones(1)}, "key_cache has one scale and values a scale for each token"),
    ],
)
def test_refusals(changes, message):
    case = QuantizedCase(((40, 3),))
    for name, value in changes.items():
        object.__setattr__(case, name, value)
    with pytest.raises(RuntimeError, match=f"paged_attention_varlen_quantized: {message}"):
        case.run()
