"""TORCH_SDPA attends as the definition says, whatever is batched with what."""

import pytest
import torch

from support.attention_case import AttentionCase
from support.kernel_inputs import assert_close
from support.quantized_cache import QuantizedCase
from support.steps import STEPS, step_of
from vllm.attention import sdpa
from vllm.attention.cache_format import CacheFormat
from vllm.attention.paged import AttentionShape, PagedAttention


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [0, 12])
@pytest.mark.parametrize("heads", [(4, 2), (3, 3), (6, 1)], ids=str)
@pytest.mark.parametrize("sequences", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "in parts"])
def test_against_the_definition(sequences, heads, window, dtype, in_parts, monkeypatch):
    if in_parts:
        monkeypatch.setattr(sdpa, "_GATHERED_BYTES", 1)
        monkeypatch.setattr(sdpa, "_MASKED_PAIRS", 300)
    num_heads, kv_heads = heads
    case = AttentionCase(sequences, dtype, num_heads, kv_heads, head_size=32, sliding_window=window)
    # What no sequence wrote is finite in the engine: the cache begins as zeros.
    keys, values = (cache.contiguous().nan_to_num() for cache in (case.key_cache, case.value_cache))
    out, step = torch.full((*case.query.shape,), 7.0).to(dtype), step_of(case)
    for _ in range(2):  # the second layer finds the first one's plan
        sdpa.attend(out, case.query, keys, values, step, case.scale, window)
        assert_close(out, case.expected()[0], terms=4.0)


QUANTIZED = {
    "fp8_e4m3": {"code": torch.float8_e4m3fn, "static_scale": 0.75},
    "fp8_e5m2": {"code": torch.float8_e5m2, "static_scale": 0.75},
    "fp8_per_token_head": {"code": torch.float8_e4m3fn},
    "int8_per_token_head": {"code": torch.int8},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("sequences", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("cache_dtype", QUANTIZED)
def test_8_bit_caches_against_the_definition(sequences, cache_dtype, dtype):
    """Stored and attended; the reference quantises by itself and dequantises in f32."""
    shape, options = AttentionShape(4, 2, 32), QUANTIZED[cache_dtype]
    given = AttentionCase(sequences, dtype, 4, 2, head_size=32)
    case = QuantizedCase(sequences, dtype, 4, 2, head_size=32, **options)
    attention = PagedAttention(shape, kv_scales=(options.get("static_scale", 1.0),) * 2)
    format = CacheFormat.of(cache_dtype, dtype)
    cache = sdpa.allocate(attention, len(case.key_cache), case.block_size, format, torch.device("cpu"))
    for table, (keys, values) in zip(case.block_table, given.keys_values, strict=True):
        position = torch.arange(len(keys))
        slots = table[position // case.block_size].long() * case.block_size + position % case.block_size
        query = torch.zeros(len(keys), 4, 32, dtype=dtype)
        qkv = torch.cat((query, keys, values), dim=1).flatten(1)
        cache.store(qkv, position, None, None, None, 0.0, 4, 2, 32, True, *cache.tensors, slots)
    out = torch.full((*case.query.shape,), 7.0).to(dtype)
    cache.attend(out, case.query, *cache.tensors, step_of(case), case.scale, 0)
    # Keys and values are rounded to the dtype once more, after their scale.
    assert_close(out, case.expected()[0], terms=8.0)
