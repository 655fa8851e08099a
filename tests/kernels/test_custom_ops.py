"""vLLM's Python functions: argument names and order, as programs written for it call them."""

import pytest
import torch

from support import kernel_reference as reference
from support.kernel_inputs import assert_close, randn
from vllm import _custom_ops as ops

ONE = torch.ones(1)


def test_norms_by_keyword():
    x, weight = randn((3, 64), torch.float32, 0), randn((64,), torch.float32, 1)
    out = torch.empty_like(x)
    ops.rms_norm(out=out, input=x, weight=weight, epsilon=1e-6)
    assert_close(out, reference.rms_norm(x, weight, 1e-6))
    residual = torch.zeros_like(x)
    ops.fused_add_rms_norm(input=x, residual=residual, weight=weight, epsilon=1e-6)
    assert_close(x, out.double())


def test_rotary_embedding_by_keyword():
    positions, table = torch.tensor([3, 1]), reference.cos_sin_cache(16, 8)
    query, key = randn((2, 2, 48), torch.float32, 0)
    expected = reference.rotate(query.unflatten(-1, (3, 16)), table[positions], False).flatten(-2)
    ops.rotary_embedding(
        positions=positions, query=query, key=key, head_size=16, cos_sin_cache=table, is_neox=False
    )  # fmt: skip
    assert_close(query, expected)


def test_caches_and_decode_attention():
    tokens, heads, size, block_size = 5, 2, 32, 8
    key, value = randn((2, tokens, heads, size), torch.float32, 0)
    keys, values = torch.zeros(2, heads, size // 4, block_size, 4), torch.zeros(2, heads, size, block_size)
    slots = torch.arange(tokens) + block_size  # block 1
    ops.reshape_and_cache(key, value, keys, values, slots, "auto", ONE, ONE)
    query = randn((1, heads, size), torch.float32, 1)
    arguments = (
        query, keys, values, heads, size**-0.5, torch.tensor([[1]], dtype=torch.int32),
        torch.tensor([tokens], dtype=torch.int32), block_size, tokens, None, "auto", ONE, ONE,
    )  # fmt: skip
    scores = torch.einsum("hd,thd->ht", query[0], key) * size**-0.5
    expected = torch.einsum("ht,thd->hd", scores.softmax(-1), value).unsqueeze(0)
    first, second = torch.empty_like(query), torch.empty_like(query)
    ops.paged_attention_v1(first, *arguments)
    assert_close(first, expected)
    partial = torch.empty(1, heads, 1)
    ops.paged_attention_v2(second, partial, partial.clone(), torch.empty(1, heads, 1, size), *arguments)
    assert_close(second, expected)


def test_penalties_and_activations():
    logits, seen = randn((2, 50), torch.float32, 0), torch.zeros(2, 50, dtype=torch.bool)
    seen[:, 7] = True
    expected = reference.repetition_penalties(logits, seen, torch.tensor([1.5, 1.0]))
    ops.apply_repetition_penalties(logits, seen, torch.zeros_like(seen), torch.tensor([1.5, 1.0]))
    assert_close(logits, expected)
    for apply in (ops.apply_repetition_penalties_cuda, ops.apply_repetition_penalties_torch):
        logits = randn((2, 50), torch.float32, 0)
        apply(logits, torch.zeros_like(seen), seen, torch.tensor([1.5, 1.0]))
        assert_close(logits, expected)
    x, out = randn((2, 16), torch.float32, 1), torch.empty(2, 8)
    torch.ops._C.silu_and_mul(out, x)
    assert_close(out, reference.gated(torch.nn.functional.silu)(x))


def test_ops_without_a_function_are_found_by_name():
    x = randn((2, 16), torch.float32, 0)
    out = torch.empty_like(x)
    ops.gelu_quick(out, x)
    assert_close(out, x * torch.sigmoid(1.702 * x))
    with pytest.raises(AttributeError, match=r"vllm\._custom_ops has no 'gelu_slow'"):
        _ = ops.gelu_slow
