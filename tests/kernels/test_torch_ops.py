"""The ops in plain torch give what this package's kernels give."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.kernel_inputs import RTOL, dtypes, randn, seeds
from vllm.exceptions import VLLMValidationError
from vllm.kernels.op_set import DEVICE_CHOICES, PROVEN_ON_DEVICE, device_kernels, native_ops, torch_ops
from vllm.kernels.qkv import qkv_norm_rope_cache
from vllm.kernels.torch_ops.qkv import qkv_norm_rope_cache as torch_qkv_norm_rope_cache

NATIVE, TORCH = native_ops(), torch_ops()


def close(actual, expected, terms=0.0):
    """Within a few roundings to the dtype: torch rounds between the parts of what is one kernel here."""
    rtol = 4 * RTOL[expected.dtype]
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=1e-5 + rtol * terms)


@given(
    rows=st.integers(1, 9),
    n=st.sampled_from([2, 48]),
    k=st.sampled_from([8, 72]),
    dtype=dtypes,
    bias=st.booleans(),
    seed=seeds,
)
@settings(max_examples=25)
def test_linear(rows, n, k, dtype, bias, seed):
    weight, x = randn((n, k), dtype, seed), randn((rows, 2 * k), dtype, seed + 1)[:, :k]
    added = randn((n,), dtype, seed + 2) if bias else None
    results = []
    for ops in (NATIVE, TORCH):
        out, logits = torch.empty(rows, n + 3, dtype=dtype)[:, :n], torch.empty(rows, n)
        packed = ops.pack_linear_weight(weight)
        ops.linear_packed(out, x, packed, added)
        ops.linear_packed(logits, x, packed)
        activated, gathered = torch.empty(rows, n // 2, dtype=dtype), torch.empty(2, k, dtype=dtype)
        ops.linear_packed_silu_and_mul(activated, x, ops.pack_gate_up_weight(weight))
        ops.gather_packed_rows(gathered, packed, torch.tensor([1, 0]))
        results.append((out, logits.to(dtype), activated, gathered))
    for native, plain in zip(*results, strict=True):
        close(plain, native, terms=8.0)


@given(rows=st.integers(1, 5), hidden=st.sampled_from([8, 100, 576]), dtype=dtypes, seed=seeds)
@settings(max_examples=25)
def test_norms_and_activation(rows, hidden, dtype, seed):
    weight, x, residual = (
        randn((hidden,), dtype, seed),
        randn((rows, hidden), dtype, seed),
        randn((rows, hidden), dtype, 1),
    )
    results = []
    for ops in (NATIVE, TORCH):
        normed, added, activated = torch.empty_like(x), (x.clone(), residual.clone()), x.new_empty(rows, hidden // 2)
        ops.rms_norm(normed, x, weight, 1e-5)
        ops.fused_add_rms_norm(*added, weight, 1e-5)
        ops.silu_and_mul(activated, x)
        results.append((normed, *added, activated))
    for native, plain in zip(*results, strict=True):
        close(plain, native)


@given(
    tokens=st.integers(1, 9), heads=st.integers(1, 2), sizes=st.sampled_from([(64, 64), (80, 32)]), dtype=dtypes,
    is_neox=st.booleans(), rotate=st.booleans(), normalize=st.booleans(), seed=seeds,
)  # fmt: skip
@settings(max_examples=30)
def test_what_precedes_attention(tokens, heads, sizes, dtype, is_neox, rotate, normalize, seed):
    head_size, rotary_size = sizes
    kv_heads, blocks, block_size = 2, 3, 8
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randint(0, 50, (tokens,), generator=generator)
    slots = torch.randperm(blocks * block_size, generator=generator)[:tokens]
    table = reference.cos_sin_cache(rotary_size, 50) if rotate else None
    weights = randn((2, head_size), dtype, seed) if normalize else (None, None)
    qkv = randn((tokens, (heads * kv_heads + 2 * kv_heads) * head_size), dtype, seed)
    results = []
    for op in (qkv_norm_rope_cache, torch_qkv_norm_rope_cache):
        changed, caches = qkv.clone(), torch.zeros(2, blocks, block_size, kv_heads, head_size, dtype=dtype)
        shape = (heads * kv_heads, kv_heads, head_size)
        op(changed, positions, table, *weights, 1e-6, *shape, is_neox, *caches, slots)
        results.append((changed, caches))
    for native, plain in zip(*results, strict=True):
        close(plain, native)


@given(
    vocab=st.sampled_from([1, 50, 700, 4096]), temperature=st.sampled_from([0.1, 0.7, 3.0]),
    top_k=st.sampled_from([0, 1, 5, 50, 1000]), top_p=st.sampled_from([1.0, 0.9, 0.5, 0.0]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]), coarse=st.booleans(), seed=seeds,
)  # fmt: skip
def test_sampling_inverts_the_distribution(vocab, temperature, top_k, top_p, min_p, coarse, seed):
    logits = randn((1, vocab), torch.float32, seed, 4.0)
    if coarse:  # many ties, as logits rounded to bf16 have
        logits = logits.mul(4).round().div(4)
    uniform = torch.linspace(0, 0.99999, 20)
    # The greedy row among them draws nothing.
    parameters = [torch.full((21,), value) for value in (temperature, top_p, min_p)]
    parameters[0][20] = 0.0
    chosen = TORCH.sample_tokens(
        logits.expand(21, vocab), parameters[0], torch.full((21,), min(top_k, vocab), dtype=torch.int32),
        *parameters[1:], torch.cat((uniform, uniform[-1:])),
    )  # fmt: skip
    probabilities = reference.token_distribution(logits[0], temperature, top_k, top_p, min_p)
    cumulative, tokens = probabilities.cumsum(-1), chosen[:20]
    assert (
        (cumulative[tokens] >= uniform - 1e-3) & (cumulative[tokens] - probabilities[tokens] <= uniform + 1e-3)
    ).all()
    assert (probabilities[tokens] > 0).all()
    assert chosen[20] == logits.argmax()


@pytest.mark.parametrize("value", [float("-inf"), float("inf"), float("nan")])
def test_rows_without_a_distribution_give_some_token(value):
    ones, no_top_k = torch.ones(1), torch.zeros(1, dtype=torch.int32)
    token = int(TORCH.sample_tokens(torch.full((1, 50), value), ones, no_top_k, ones / 2, ones * 0, ones / 2))
    assert 0 <= token < 50


@given(rows=st.integers(1, 4), vocab=st.integers(1, 200), seed=seeds)
@settings(max_examples=20)
def test_penalties(rows, vocab, seed):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(-2, 4, (rows, vocab), generator=generator)
    seen = counts >= -1
    offsets = torch.cat((torch.zeros(1), seen.sum(-1).cumsum(-1))).int()
    penalties = torch.rand(3, rows, generator=generator) + 0.5
    results = []
    for ops in (NATIVE, TORCH):
        logits = randn((rows, vocab), torch.float32, seed)
        ops.apply_penalties(logits, offsets, seen.nonzero()[:, 1].int(), counts[seen].clamp(min=0).int(), *penalties)
        results.append(logits)
    close(results[1], results[0])


def test_kernels_of_the_device_are_asked_for_by_name():
    assert device_kernels(None) == PROVEN_ON_DEVICE
    assert device_kernels("") == frozenset()
    assert device_kernels("all") == frozenset(DEVICE_CHOICES)
    own = torch_ops(device_kernels("rms_norm, silu_and_mul"))
    changed = {f.name for f in dataclasses.fields(own) if getattr(own, f.name) != getattr(TORCH, f.name)}
    assert changed - {"pack_quantized_weight"} == {"rms_norm", "silu_and_mul"}  # which each table binds to a dtype
    assert own.rms_norm is NATIVE.rms_norm
    with pytest.raises(
        VLLMValidationError, match="VLLM_DEVICE_KERNELS='norm' is not accepted: 'norm' is none of rms_norm"
    ):
        device_kernels("norm")
