import pytest
import torch
import torch.nn.functional as F

from support import kernel_reference as reference
from support.device_cases import assert_quantized, dynamic_scale
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, RTOL, assert_close, randn, with_layout

ops = Ops("_C")
GATED = {
    "silu_and_mul": reference.gated(F.silu),
    "mul_and_silu": reference.mul_and_silu,
    "gelu_and_mul": reference.gated(F.gelu),
    "gelu_tanh_and_mul": reference.gated(reference.gelu_tanh),
    "swigluoai_and_mul": reference.swigluoai_and_mul,
}
SINGLE = {"gelu_new": reference.gelu_tanh, "gelu_fast": reference.gelu_tanh, "gelu_quick": reference.gelu_quick}
PARAMETERS = {"swigluoai_and_mul": (1.702, 7.0)}
# Vectors and single elements, several chunks of a row, rows that do not follow each other.
CASES = [
    (torch.float32, 77, "padded"),
    (torch.float32, 2304, "contiguous"),
    (torch.bfloat16, 2304, "padded"),
    (torch.bfloat16, 77, "contiguous"),
    (torch.float16, 64, "swapped"),
]
cases = pytest.mark.parametrize(("dtype", "size", "layout"), CASES)


@pytest.mark.parametrize("name", [*GATED, *SINGLE])
@cases
def test_activation(name, dtype, size, layout):
    x = randn((2, 3, size * (2 if name in GATED else 1)), dtype, 0, 3.0)
    out = with_layout(torch.zeros(2, 3, size, dtype=dtype), layout)
    getattr(ops, name)(out, with_layout(x, layout), *PARAMETERS.get(name, ()))
    assert_close(out, (GATED | SINGLE)[name](x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fatrelu_and_mul(dtype):
    x = randn((3, 128), dtype, 0)
    out = torch.empty(3, 64, dtype=dtype)
    ops.fatrelu_and_mul(out, x, 0.25)
    assert_close(out, reference.fatrelu_and_mul(x, 0.25))


@pytest.mark.parametrize("name", [*GATED, *SINGLE])
def test_saturation(name):
    values = torch.tensor([[-1e4], [-90.0], [90.0], [1e4]])
    x, out = values.expand(-1, 80 if name in GATED else 40).contiguous(), torch.empty(4, 40)
    getattr(ops, name)(out, x, *PARAMETERS.get(name, ()))
    assert_close(out, (GATED | SINGLE)[name](x))


@pytest.mark.parametrize("q", [torch.float8_e4m3fn, torch.int8])
@cases
def test_silu_and_mul_quant(q, dtype, size, layout):
    x, scale = with_layout(randn((3, 2 * size), dtype, 0, 3.0), layout), torch.tensor([0.05])
    out = torch.empty(3, size, dtype=q)
    ops.silu_and_mul_quant(out, x, scale)
    assert_quantized(out, scale, GATED["silu_and_mul"](x), 2 * RTOL[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_and_mul_quant_has_the_codes_of_the_two_ops_in_turn(dtype):
    x, scale = randn((7, 2 * 769), dtype, 0), torch.tensor(0.02)
    fused, codes = torch.empty(2, 7, 769, dtype=torch.float8_e4m3fn)
    activated = torch.empty(7, 769, dtype=dtype)
    ops.silu_and_mul_quant(fused, x, scale)
    ops.silu_and_mul(activated, x)
    ops.static_scaled_fp8_quant(codes, activated, scale)
    assert torch.equal(fused.view(torch.uint8), codes.view(torch.uint8))


@pytest.mark.parametrize("q", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "group"), [(256, 128), (192, 64), (2304, 128)])
@pytest.mark.parametrize("transposed", [False, True])
def test_silu_and_mul_per_block_quant(q, dtype, size, group, transposed):
    x = randn((3, 2 * size), dtype, 0, 3.0)
    scales = torch.empty(size // group, 3).t() if transposed else torch.empty(3, size // group)
    out, upper = torch.empty(3, size, dtype=q), torch.tensor([8.0])
    ops.silu_and_mul_per_block_quant(out, x, scales, group, upper, transposed)
    expected = GATED["silu_and_mul"](x).unflatten(-1, (-1, group))
    assert_close(scales, dynamic_scale(expected, q, upper).squeeze(-1))
    assert_quantized(out.unflatten(-1, (-1, group)), scales.unsqueeze(-1), expected)
    if transposed:  # the same memory, given the other way round
        others = torch.empty_like(scales.t())
        ops.silu_and_mul_per_block_quant(out, x, others, group, upper, True)
        assert torch.equal(others.t(), scales)


def test_refusals():
    x = torch.zeros(2, 8)
    with pytest.raises(RuntimeError, match=r"silu_and_mul: result has shape \[2, 8\], expected .* half its last"):
        ops.silu_and_mul(x, x)
    with pytest.raises(RuntimeError, match="silu_and_mul_quant: result is float32, expected float8_e4m3fn"):
        ops.silu_and_mul_quant(x[:, :4], x, torch.ones(1))
