"""Checks every op of the installed package once against plain torch and prints what differed.

Run as a script, under an instruction set chosen by VLLM_CPU_ISA or on an emulated CPU:
    python tests/support/kernel_selfcheck.py [EXPECTED_ISA]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support import kernel_reference as reference
from support.attention_case import pack_keys, pack_values
from support.kernel_inputs import DTYPES, assert_close, randn
from support.quantized_cache import CODES, QuantizedCase, quantize
from support.quantized_reference import quantized_input, random_codes
from vllm.kernels import (
    activation,
    attention,
    cache,
    cpu_isa,
    linear,
    merge_states,
    norm,
    qkv,
    quantized_cache,
    quantized_linear,
    rotary,
    sampling,
    scaled_quant,
)

Check = tuple[str, Tensor, Tensor]  # name, actual, expected


def rows(dtype: torch.dtype) -> Iterator[Check]:
    x, residual = randn((2, 7, 154), dtype, 0)
    weight = randn((154,), dtype, 1)
    out = torch.empty_like(x)
    norm.rms_norm(out, x, weight, 1e-6)
    yield "rms_norm", out, reference.rms_norm(x, weight, 1e-6)
    total = (x.float() + residual.float()).to(dtype)
    y = x.clone()
    norm.fused_add_rms_norm(y, residual, weight, 1e-6)
    yield "fused_add_rms_norm", y, reference.rms_norm(total, weight, 1e-6)
    half = torch.empty(7, 77, dtype=dtype)
    for op, expected in (
        (activation.silu_and_mul, reference.gated(F.silu)),
        (activation.mul_and_silu, reference.mul_and_silu),
        (activation.gelu_and_mul, reference.gated(F.gelu)),
        (activation.gelu_tanh_and_mul, reference.gated(reference.gelu_tanh)),
        (activation.swigluoai_and_mul, reference.swigluoai_and_mul),
    ):
        op(half, x)
        yield op.__name__, half, expected(x)
    activation.fatrelu_and_mul(half, x, 0.1)
    yield "fatrelu_and_mul", half, reference.fatrelu_and_mul(x, 0.1)
    for op, expected in (
        (activation.gelu_new, reference.gelu_tanh),
        (activation.gelu_fast, reference.gelu_tanh),
        (activation.gelu_quick, reference.gelu_quick),
    ):
        op(out, x)
        yield op.__name__, out, expected(x)


def heads(dtype: torch.dtype) -> Iterator[Check]:
    positions = torch.tensor([5, 0, 30])
    for is_neox in (True, False):
        for size in (64, 18):
            table = reference.cos_sin_cache(size, 32)
            x = randn((3, 2 * size), dtype, 3)
            expected = reference.rotate(x.unflatten(-1, (2, size)), table[positions], is_neox).flatten(-2)
            rotary.rotary_embedding(positions, x, None, size, table, is_neox)
            yield f"rotary_embedding {size} {is_neox}", x, expected
    table, weights = reference.cos_sin_cache(64, 32), randn((2, 64), dtype, 4)
    x = randn((3, 4 * 64), dtype, 5)
    query, key = (
        reference.rotate(reference.rms_norm(part, w, 1e-6), table[positions], True)
        for part, w in zip(x.unflatten(-1, (4, 64))[:, :3].split((2, 1), 1), weights, strict=True)
    )
    caches, slots = torch.zeros(2, 4, 8, 1, 64, dtype=dtype), torch.tensor([9, 0, 31])
    qkv.qkv_norm_rope_cache(x, positions, table, *weights, 1e-6, 2, 1, 64, True, caches[0], caches[1], slots)
    yield "qkv_norm_rope_cache query", x[:, :128], query.flatten(1)
    yield "qkv_norm_rope_cache key", caches[0].flatten(0, 1)[slots], key
    key, value = randn((2, 3, 1, 64), dtype, 6)
    one = torch.ones(1)
    cache.reshape_and_cache_flash(key, value, caches[0], caches[1], slots, "auto", one, one)
    yield "reshape_and_cache_flash", caches.flatten(1, 2)[:, slots], torch.stack((key, value))
    x = 16 // dtype.itemsize
    keys, values = torch.zeros(4, 1, 64 // x, 8, x, dtype=dtype), torch.zeros(4, 1, 64, 8, dtype=dtype)
    cache.reshape_and_cache(key, value, keys, values, slots, "auto", one, one)
    yield "reshape_and_cache", values.permute(0, 3, 1, 2).flatten(0, 1)[slots], value
    yield "reshape_and_cache key", keys.permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(2)[slots], key


def products(dtype: torch.dtype) -> Iterator[Check]:
    for count in (1, 5, 40):
        x, weight = randn((count, 70), dtype, 7), randn((50, 70), dtype, 8, 0.1)
        out = torch.empty(count, 50, dtype=dtype)
        linear.linear_packed(out, x, linear.pack_linear_weight(weight))
        yield f"linear_packed {count}", out, x.double() @ weight.double().t()
    query, both = randn((4, 2, 64), dtype, 9), randn((2, 6, 8, 1, 64), dtype, 10)
    out, table = torch.empty_like(query), torch.tensor([[3, 0, 5]], dtype=torch.int32)
    starts, lengths = torch.tensor([0, 4], dtype=torch.int32), torch.tensor([19], dtype=torch.int32)
    attention.paged_attention_varlen(out, query, both[0], both[1], starts, lengths, table, 0.125)
    key, value = both[:, table[0]].flatten(1, 2)[:, :19, 0].double()
    mask = torch.ones(4, 19, dtype=torch.bool).tril(15)
    scores = (query.double().transpose(0, 1) @ key.t() * 0.125).masked_fill(~mask, -float("inf"))
    yield "paged_attention_varlen", out, (scores.softmax(-1) @ value).transpose(0, 1)
    parts, lses = randn((2, 5, 3, 40), dtype, 11), randn((2, 3, 5), torch.float32, 12)
    out, lse = torch.empty_like(parts[0]), torch.empty(3, 5)
    merge_states.merge_attn_states(out, parts[0], lses[0], parts[1], lses[1], lse)
    expected, expected_lse = reference.merge_attn_states(parts[0], lses[0], parts[1], lses[1])
    yield "merge_attn_states", out, expected
    yield "merge_attn_states lse", lse, expected_lse


def quantized(dtype: torch.dtype) -> Iterator[Check]:
    for form in ((8, -1, True, False), (8, 32, False, True), (4, 32, False, False), (4, 40, False, True)):
        weight = random_codes(50, 100, *form, 0)
        packed = quantized_linear.pack_quantized_weight(
            weight.codes, weight.scales, weight.zeros, bits=weight.bits, group_size=weight.group_size
        )
        for count in (1, 5, 40):
            x, out = randn((count, 100), dtype, 1), torch.empty(count, 50, dtype=dtype)
            linear.linear_packed(out, x, packed)
            yield f"linear_packed {form} {count}", out, quantized_input(x, weight.group) @ weight.dequantized().t()
    x = randn((3, 77), dtype, 2)
    for bits, step in ((8, 0.01), (4, 0.15)):
        codes, scales = quantized_linear.quantize_weight(x, bits)
        spread = scales.repeat_interleave(77 if bits == 8 else 32, 1)[:, :77]
        error = (codes.float() - 2 ** (bits - 1)) * spread - x.float()
        yield f"quantize_weight {bits}", (error.norm() < step * x.float().norm()).float(), torch.ones(())
    scale = torch.tensor([0.01])
    out, _ = scaled_quant.scaled_fp8_quant(x, scale)
    yield "scaled_fp8_quant", out.float(), (x.float() / scale).clamp(-448, 448).to(out.dtype).float()
    codes, _, _ = scaled_quant.scaled_int8_quant(x, scale)
    yield "scaled_int8_quant", codes.float(), (x.float() / scale).round().clamp(-128, 127)
    product = scaled_quant.cutlass_scaled_mm(codes, codes.t(), scale, scale, dtype)
    yield "cutlass_scaled_mm", product, codes.double() @ codes.double().t() * 1e-4


def quantized_caches(dtype: torch.dtype) -> Iterator[Check]:
    for code in CODES:
        for static_scale in (None, 0.03):
            # Decoding, and a chunk of a prompt: both kernels.
            case = QuantizedCase(((70, 1), (40, 20)), dtype, code=code, static_scale=static_scale)
            yield f"paged_attention_varlen_quantized {code} {static_scale}", case.run()[0], case.expected()[0]
        x, slots = randn((3, 4 * 64), dtype, 15), torch.tensor([9, 0, 31])
        caches, scales = torch.zeros(2, 2, 1, 16, 64).to(code), torch.zeros(2, 2, 1, 16)
        packed = [pack(c, dtype) for pack, c in zip((pack_keys, pack_values), caches, strict=True)]
        quantized_cache.qkv_norm_rope_quantized_cache(
            x, torch.arange(3), None, None, None, 1e-6, 2, 1, 64, True, *packed, *scales, slots
        )
        codes, expected = quantize(x[:, 128:192], code, None)
        yield f"qkv_norm_rope_quantized_cache {code} scales", scales[0].flatten()[slots], expected
        stored = packed[0].float().transpose(2, 3).flatten(3)[:, 0].flatten(0, 1)[slots]
        yield f"qkv_norm_rope_quantized_cache {code}", stored, codes.float()


def choices(dtype: torch.dtype) -> Iterator[Check]:
    logits = randn((2, 1000), dtype, 13, 2.0)
    masks, penalties = randn((2, 2, 1000), torch.float32, 14) > 1, torch.tensor([1.2, 0.8])
    penalized = logits.clone()
    sampling.apply_repetition_penalties(penalized, masks[0], masks[1], penalties)
    expected = reference.repetition_penalties(logits, masks[0] | masks[1], penalties)
    yield "apply_repetition_penalties_", penalized, expected
    for options in ((0, 1.0, 0.0), (40, 1.0, 0.0), (0, 0.9, 0.0), (600, 0.8, 0.01)):
        probabilities = reference.token_distribution(logits[0].float(), 0.8, *options)
        uniform = torch.linspace(0.0, 0.999, 50)
        row = logits[:1].float().expand(50, -1)
        k, p, m = (torch.full((50,), value) for value in options)
        drawn = sampling.sample_tokens(row, torch.full((50,), 0.8), k.int(), p, m, uniform)
        # The cumulative distribution, inverted and applied again, is the uniform number within a token's probability.
        middle = probabilities.cumsum(-1)[drawn] - probabilities[drawn] / 2
        right = (middle - uniform).abs() <= probabilities[drawn] / 2 + 1e-3
        yield f"sample_tokens {options}", right.float(), torch.ones(50)


def main() -> int:
    failures = 0
    for dtype in DTYPES:
        for check in (rows, heads, products, quantized, quantized_caches, choices):
            for name, actual, expected in check(dtype):
                try:
                    assert_close(
                        actual, expected, terms=1.0 if check in (products, quantized, quantized_caches) else 0.0
                    )
                except AssertionError as error:
                    failures += 1
                    print(f"{name} {dtype}: {' '.join(str(error).split())}", file=sys.stderr)
    isa = cpu_isa()
    print(f"{isa}: {failures} failures")
    if len(sys.argv) > 1 and sys.argv[1] != isa:
        print(f"the instruction set is {isa}, expected {sys.argv[1]}", file=sys.stderr)
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
