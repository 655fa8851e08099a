import pytest
import torch

from support.device_cases import assert_quantized, dynamic_scale, range_scale
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, assert_close, randn, with_layout

ops = Ops("_C")
FP8 = torch.float8_e4m3fn
# Vectors and single elements, several chunks of a row, rows that do not follow each other.
CASES = [
    (torch.float32, (2, 3, 77), "padded"),
    (torch.bfloat16, (3, 64), "contiguous"),
    (torch.bfloat16, (2, 2304), "padded"),
    (torch.float16, (2, 2304), "contiguous"),
]
cases = pytest.mark.parametrize(("dtype", "shape", "layout"), CASES)


def values(shape, dtype, layout):
    return with_layout(randn(shape, dtype, 0, 5.0), layout)


@cases
def test_static_fp8(dtype, shape, layout):
    x, scale, out = (
        values(shape, dtype, layout),
        torch.tensor([0.01]),
        torch.empty(shape, dtype=FP8),
    )
    ops.static_scaled_fp8_quant(out, x, scale)
    expected = (x.float() / scale).clamp(-448, 448).to(FP8)
    assert torch.equal(out.float(), expected.float())


@cases
def test_dynamic_fp8(dtype, shape, layout):
    # Room for one scale a row, as programs give it that call either op; the first is written.
    x, scale, out = values(shape, dtype, layout), torch.full((3,), 1e9), torch.empty(shape, dtype=FP8)
    ops.dynamic_scaled_fp8_quant(out, x, scale)
    assert scale[1:].eq(1e9).all()
    assert_close(scale[:1], x.abs().max().float().reshape(1) / 448)
    assert_quantized(out, scale[0], x.double())


def test_dynamic_fp8_of_zeros():
    scale, out = torch.empty(1), torch.empty(2, 64, dtype=FP8)
    ops.dynamic_scaled_fp8_quant(out, torch.zeros(2, 64), scale)
    assert out.float().count_nonzero() == 0


@cases
@pytest.mark.parametrize("upper", [None, 3.0])
def test_dynamic_per_token_fp8(dtype, shape, layout, upper):
    x, out, scale = (
        values(shape, dtype, layout),
        torch.empty(shape, dtype=FP8),
        torch.empty(*shape[:-1], 1),
    )
    upper = None if upper is None else torch.tensor([upper])
    ops.dynamic_per_token_scaled_fp8_quant(out, x, scale, upper)
    assert_close(scale, dynamic_scale(x, FP8, upper))
    assert_quantized(out, scale, x.double())


@cases
@pytest.mark.parametrize("zero_point", [None, -7])
def test_static_int8(dtype, shape, layout, zero_point):
    x, scale, out = (
        values(shape, dtype, layout),
        torch.tensor([0.05]),
        torch.empty(shape, dtype=torch.int8),
    )
    azp = None if zero_point is None else torch.tensor([zero_point], dtype=torch.int32)
    ops.static_scaled_int8_quant(out, x, scale, azp)
    expected = ((x.float() / scale).round() + (zero_point or 0)).clamp(-128, 127).to(torch.int8)
    assert torch.equal(out, expected)


@cases
def test_dynamic_int8(dtype, shape, layout):
    x, out, scale = (
        values(shape, dtype, layout),
        torch.empty(shape, dtype=torch.int8),
        torch.empty(*shape[:-1], 1),
    )
    ops.dynamic_scaled_int8_quant(out, x, scale, None)
    assert_close(scale, dynamic_scale(x, torch.int8))
    assert_quantized(out, scale, x.double())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 40.0, -5000.0])
def test_dynamic_int8_with_zero_points(dtype, offset):
    x = (randn((4, 200), torch.float32, 0, 5.0) + offset).to(dtype)
    x[1] = x[1, 0]
    out, scale = torch.empty(4, 200, dtype=torch.int8), torch.empty(4, 1)
    azp = torch.empty(4, 1, dtype=torch.int32)
    ops.dynamic_scaled_int8_quant(out, x, scale, azp)
    assert_close(scale, range_scale(x))
    restored = (out.float() - azp) * scale
    assert ((restored - x.float()).abs() <= scale * 1.01).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "group"), [(256, 128), (192, 64), (2304, 128)])
@pytest.mark.parametrize("ue8m0", [False, True])
def test_per_token_group_fp8(dtype, size, group, ue8m0):
    x = randn((3, size), dtype, 0, 5.0)
    x[1] = 0
    out, scales = torch.empty(3, size, dtype=FP8), torch.empty(size // group, 3).t()
    ops.per_token_group_fp8_quant(x, out, scales, group, 1e-10, -448.0, 448.0, ue8m0)
    grouped = x.double().unflatten(-1, (-1, group))
    expected = grouped.abs().amax(-1).clamp(min=1e-10) / 448
    if ue8m0:
        expected = torch.exp2(expected.log2().ceil())
    assert_close(scales, expected)
    assert_quantized(out.unflatten(-1, (-1, group)), scales.unsqueeze(-1), grouped)


def test_refusals():
    x = torch.zeros(2, 64)
    with pytest.raises(RuntimeError, match="result is int8, expected float8_e4m3fn"):
        ops.static_scaled_fp8_quant(torch.empty(2, 64, dtype=torch.int8), x, torch.ones(1))
    with pytest.raises(RuntimeError, match=r"scale has shape .* expected one value"):
        ops.static_scaled_fp8_quant(torch.empty(2, 64, dtype=FP8), x, torch.ones(2))
