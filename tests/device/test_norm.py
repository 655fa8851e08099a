import pytest
import torch

from support import kernel_reference as reference
from support.device_cases import assert_quantized, dynamic_scale
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, assert_close, randn, with_layout

ops = Ops("_C")
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
    assert_quantized(out, scale, reference.rms_norm(expected, weight, 1e-6))


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
    assert_close(scale, dynamic_scale(expected, q, upper))
    assert_quantized(out, scale, expected)


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
    assert_close(scales, dynamic_scale(expected, q).squeeze(-1))
    assert_quantized(out.unflatten(-1, (-1, group)), scales.unsqueeze(-1), expected)


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
