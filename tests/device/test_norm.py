import pytest
import torch

from support import kernel_reference as reference
from support.device_cases import assert_quantized, dynamic_scale
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, RTOL, assert_close, randn, with_layout

ops = Ops("_C")
# Of what is quantised: it is in the input's type, and with dynamic scales so are the rows before the weight.
ROUNDING = {dtype: 2 * rtol for dtype, rtol in RTOL.items()}
# Vectors and single elements, one pass of registers and more, rows that do not follow each other.
CASES = [
    (torch.float32, (2, 3, 1536), "swapped"),
    (torch.float32, (5, 77), "padded"),
    (torch.bfloat16, (3, 64), "contiguous"),
    (torch.bfloat16, (2, 9000), "contiguous"),
    (torch.float16, (2, 3, 1536), "padded"),
    (torch.float16, (5, 77), "contiguous"),
]
cases = pytest.mark.parametrize(("dtype", "shape", "layout"), CASES)


@cases
def test_rms_norm(dtype, shape, layout):
    x, weight = randn(shape, dtype, 0, 3.0), randn(shape[-1:], dtype, 1)
    out = with_layout(torch.zeros_like(x), layout)
    ops.rms_norm(out, with_layout(x, layout), weight, 1e-6)
    assert_close(out, reference.rms_norm(x, weight, 1e-6))


@cases
def test_fused_add_rms_norm(dtype, shape, layout):
    x, residual, weight = randn(shape, dtype, 0), randn(shape, dtype, 1, 3.0), randn(shape[-1:], dtype, 2)
    expected_residual = (x.float() + residual.float()).to(dtype)
    x, residual = with_layout(x, layout), with_layout(residual, layout)
    ops.fused_add_rms_norm(x, residual, weight, 1e-5)
    assert torch.equal(residual, expected_residual)
    assert_close(x, reference.rms_norm(expected_residual, weight, 1e-5))


@pytest.mark.parametrize("shape", [(3, 5, 64), (2, 3, 4, 77), (4, 768)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_for_each_of_the_outermost_dimension(dtype, shape):
    x, weight = randn(shape, dtype, 0), randn((shape[0], shape[-1]), dtype, 1)
    out = torch.empty_like(x)
    ops.rms_norm(out, x, weight, 1e-6)
    for i in range(shape[0]):
        assert_close(out[i], reference.rms_norm(x[i], weight[i], 1e-6))


@cases
def test_without_a_weight(dtype, shape, layout):
    x, residual = (with_layout(randn(shape, dtype, seed), layout) for seed in (0, 1))
    out, ones = torch.empty(shape, dtype=dtype), torch.ones(shape[-1])
    ops.rms_norm(out, x, None, 1e-6)
    assert_close(out, reference.rms_norm(x, ones, 1e-6))
    expected = (x.float() + residual.float()).to(dtype)
    ops.fused_add_rms_norm(x, residual, None, 1e-6)
    assert_close(x, reference.rms_norm(expected, ones, 1e-6))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
def test_static_fp8_has_the_codes_of_the_two_ops_in_turn(dtype, add):
    x, residual = randn((2, 7, 769), dtype, 0)
    weight, scale = randn((769,), dtype, 1), torch.tensor(0.02)
    fused, codes = torch.empty(2, 7, 769, dtype=torch.float8_e4m3fn)
    if add:
        ops.fused_add_rms_norm_static_fp8_quant(fused, x, residual.clone(), weight, scale, 1e-6)
        ops.fused_add_rms_norm(x, residual, weight, 1e-6)
        normed = x
    else:
        normed = torch.empty_like(x)
        ops.rms_norm_static_fp8_quant(fused, x, weight, scale, 1e-6)
        ops.rms_norm(normed, x, weight, 1e-6)
    ops.static_scaled_fp8_quant(codes, normed, scale)
    assert torch.equal(fused.view(torch.uint8), codes.view(torch.uint8))


@cases
@pytest.mark.parametrize("add", [False, True])
def test_static_fp8(dtype, shape, layout, add):
    x, residual = (with_layout(randn(shape, dtype, seed), layout) for seed in (0, 1))
    weight = randn(shape[-1:], dtype, 2)
    scale, out = torch.tensor([0.02]), torch.empty(shape, dtype=torch.float8_e4m3fn)
    expected = (x.float() + residual.float()).to(dtype) if add else x
    if add:
        ops.fused_add_rms_norm_static_fp8_quant(out, x, residual, weight, scale, 1e-6)
        assert torch.equal(residual, expected)
    else:
        ops.rms_norm_static_fp8_quant(out, x, weight, scale, 1e-6)
    assert_quantized(out, scale, reference.rms_norm(expected, weight, 1e-6), ROUNDING[dtype])


@pytest.mark.parametrize("q", [torch.float8_e4m3fn, torch.int8])
@cases
@pytest.mark.parametrize("add", [False, True])
def test_dynamic_per_token(q, dtype, shape, layout, add):
    x, residual = (with_layout(randn(shape, dtype, seed), layout) for seed in (0, 1))
    weight = randn(shape[-1:], dtype, 2)
    expected = reference.rms_norm((x.float() + residual.float()).to(dtype) if add else x, weight, 1e-6)
    upper = torch.tensor([2.0]) if q is not torch.int8 else None
    out, scale = torch.empty(shape, dtype=q), torch.empty(*shape[:-1], 1)
    ops.rms_norm_dynamic_per_token_quant(out, x, weight, scale, 1e-6, upper, residual if add else None)
    torch.testing.assert_close(scale, dynamic_scale(expected, q, upper), rtol=ROUNDING[dtype], atol=0)
    assert_quantized(out, scale, expected, ROUNDING[dtype])


@pytest.mark.parametrize("q", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "group"), [(512, 128), (192, 64), (5120, 128)])
@pytest.mark.parametrize("transposed", [False, True])
def test_per_block(q, dtype, hidden, group, transposed):
    x, weight = randn((6, hidden), dtype, 0), randn((hidden,), dtype, 2)
    expected = reference.rms_norm(x, weight, 1e-6).unflatten(-1, (-1, group))
    scales = torch.empty(hidden // group, 6).t() if transposed else torch.empty(6, hidden // group)
    out = torch.empty(6, hidden, dtype=q)
    ops.rms_norm_per_block_quant(out, x, weight, scales, 1e-6, None, None, group, transposed)
    torch.testing.assert_close(scales, dynamic_scale(expected, q).squeeze(-1), rtol=ROUNDING[dtype], atol=0)
    assert_quantized(out.unflatten(-1, (-1, group)), scales.unsqueeze(-1), expected, ROUNDING[dtype])
    if transposed:  # the same memory, given the other way round
        others, codes = torch.empty_like(scales.t()), torch.empty_like(out)
        ops.rms_norm_per_block_quant(codes, x, weight, others, 1e-6, None, None, group, True)
        assert torch.equal(others.t(), scales) and torch.equal(codes.view(torch.uint8), out.view(torch.uint8))


@pytest.mark.parametrize("q", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dynamic_scales_are_those_of_torchs_chain(q, dtype):
    x, weight = randn((6, 513), dtype, 0), randn((513,), dtype, 2)
    normed = (x.float() * (x.float().pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()).to(dtype) * weight
    out, scale = torch.empty(6, 513, dtype=q), torch.empty(6, 1)
    ops.rms_norm_dynamic_per_token_quant(out, x, weight, scale, 1e-6, None, None)
    assert_close(scale, dynamic_scale(normed, q))


def test_rows_of_zeros_quantise_to_zeros():
    x, out, scale = torch.zeros(2, 64), torch.empty(2, 64, dtype=torch.float8_e4m3fn), torch.empty(2, 1)
    ops.rms_norm_dynamic_per_token_quant(out, x, torch.ones(64), scale, 1e-6, None, None)
    assert out.float().count_nonzero() == 0


def test_refusals():
    x, weight = torch.zeros(2, 64), torch.zeros(64)
    with pytest.raises(RuntimeError, match=r"rms_norm: weight has shape \[32\], expected \[64\]"):
        ops.rms_norm(x.clone(), x, weight[:32], 1e-6)
    out, scale = torch.empty(2, 64, dtype=torch.int8), torch.empty(2, 1)
    with pytest.raises(RuntimeError, match="comes with group_size 48, expected a power of two from 4 to 128"):
        ops.rms_norm_per_block_quant(out, x, weight, scale, 1e-6, None, None, 48, False)
    with pytest.raises(RuntimeError, match=r"scale has shape .* expected one value for each of 2 rows"):
        ops.rms_norm_dynamic_per_token_quant(out, x, weight, scale[:1], 1e-6, None, None)
