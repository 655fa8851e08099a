import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.device_cases import assert_quantized, dynamic_scale, range_scale
from support.kernel_inputs import DTYPES, assert_close, dtypes, hidden_sizes, layouts, randn, seeds, with_layout
from vllm import _custom_ops as ops

FP8 = torch.float8_e4m3fn
rows = st.integers(1, 5)


@given(rows, hidden_sizes, dtypes, layouts, seeds)
def test_static_fp8(m, k, dtype, layout, seed):
    x, scale = with_layout(randn((m, k), dtype, seed, 5.0), layout), torch.tensor([0.01])
    out, used = ops.scaled_fp8_quant(x, scale)
    assert used is scale
    assert torch.equal(out.float(), (x.float() / scale).clamp(-448, 448).to(FP8).float())


def test_every_fp8_value_is_kept_and_ties_go_to_even():
    values = torch.arange(256, dtype=torch.uint8).view(FP8).float()
    finite = values[values.isfinite()].unsqueeze(0)
    middles = (finite[:, :-1] + finite[:, 1:]) / 2
    for x in (finite, middles, torch.tensor([[1e9, -1e9, 1e-9, float("nan")]])):
        out, _ = ops.scaled_fp8_quant(x, torch.ones(1))
        expected = torch.where(x.isnan(), x, x.clamp(-448, 448)).to(FP8)
        torch.testing.assert_close(out.float(), expected.float(), rtol=0, atol=0, equal_nan=True)


@given(rows, hidden_sizes, dtypes, layouts, st.sampled_from([None, 3.0]), st.booleans(), seeds)
def test_dynamic_fp8(m, k, dtype, layout, upper, per_token, seed):
    x = with_layout(randn((m, k), dtype, seed, 5.0), layout)
    bound = torch.tensor([upper]) if upper and per_token else None
    out, scale = ops.scaled_fp8_quant(x, scale_ub=bound, use_per_token_if_dynamic=per_token)
    expected = dynamic_scale(x, FP8, bound) if per_token else x.abs().max().float().reshape(1) / 448
    assert_close(scale, expected)
    assert_quantized(out, scale, x.double())


def test_fp8_padding_and_output():
    x, output = randn((3, 40), torch.bfloat16, 0), torch.zeros(5, 40, dtype=FP8)
    padded, _ = ops.scaled_fp8_quant(x, num_token_padding=8)
    assert padded.shape == (8, 40)
    assert ops.scaled_fp8_quant(x, output=output)[0] is output
    assert torch.equal(output[:3].float(), padded[:3].float())


def test_fp8_scales_of_padded_rows():
    x = randn((3, 40), torch.bfloat16, 0)
    out, scale = ops.scaled_fp8_quant(x, num_token_padding=8, use_per_token_if_dynamic=True)
    assert (out.shape, scale.shape) == ((8, 40), (8, 1))
    assert_quantized(out[:3], scale[:3], x.double())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [(1, -1), (-1, 1), (1, 8), (-1, 8), (3, 20), (-1, -1)])
@pytest.mark.parametrize("lines", [1, 2])
def test_static_fp8_of_groups(dtype, groups, lines):
    x = randn((6, 40), dtype, 0)
    given = x.clone()
    rows, columns = (size if group == -1 else group for group, size in zip(groups, x.shape, strict=True))
    scale = torch.rand(6 // rows, 40 // columns) / 50 + 0.01
    each = scale.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
    expected = (x.float() / each).clamp(-448, 448).to(FP8)
    if lines == 1 and 1 in scale.shape:
        scale = scale.flatten()
    out, used = ops.scaled_fp8_quant(x, scale, group_shape=groups)
    assert used is scale and torch.equal(x, given)
    assert torch.equal(out.float(), expected.float())
    if scale.dim() == 2:
        assert torch.equal(ops.scaled_fp8_quant(x, scale)[0].float(), expected.float())


@pytest.mark.parametrize(
    ("scale", "groups"), [((40,), None), ((40,), (1, -1)), ((4, 40), None), ((6, 1), (-1, 1)), ((6, 1, 1), None)]
)
def test_scales_that_are_of_no_groups(scale, groups):
    with pytest.raises(ValueError, match=r"is not accepted for input \[6, 40\]: give one value, or \[tokens / rows"):
        ops.scaled_fp8_quant(torch.zeros(6, 40), torch.ones(scale), group_shape=groups)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_stay_zeros(dtype):
    x = torch.zeros(3, 40, dtype=dtype)
    for out, *_ in (
        ops.scaled_fp8_quant(x),
        ops.scaled_fp8_quant(x, use_per_token_if_dynamic=True),
        ops.scaled_int8_quant(x),
    ):
        assert out.float().count_nonzero() == 0


@given(rows, hidden_sizes, dtypes, layouts, st.sampled_from([None, -7]), seeds)
def test_static_int8(m, k, dtype, layout, zero_point, seed):
    x, scale = with_layout(randn((m, k), dtype, seed, 5.0), layout), torch.tensor([0.05])
    azp = None if zero_point is None else torch.tensor([zero_point], dtype=torch.int32)
    out, _, _ = ops.scaled_int8_quant(x, scale, azp, symmetric=azp is None)
    assert torch.equal(out, ((x.float() / scale).round() + (zero_point or 0)).clamp(-128, 127).to(torch.int8))


@given(rows, hidden_sizes, dtypes, layouts, st.sampled_from([0.0, 40.0, -5000.0]), st.booleans(), seeds)
def test_dynamic_int8(m, k, dtype, layout, offset, symmetric, seed):
    x = with_layout((randn((m, k), torch.float32, seed, 5.0) + offset).to(dtype), layout)
    out, scale, azp = ops.scaled_int8_quant(x, symmetric=symmetric)
    if symmetric:
        assert_close(scale, dynamic_scale(x, torch.int8))
        assert_quantized(out, scale, x.double())
    else:
        assert_close(scale, range_scale(x))
        restored = (out.double() - azp) * scale
        assert ((restored - x.double()).abs() <= scale * 1.01).all()


@pytest.mark.parametrize("value", [1000.0, -30000.0])
def test_products_of_constant_rows(value):
    x, weight = torch.full((1, 512), value), torch.arange(-128, 384).clamp(max=127).to(torch.int8).unsqueeze(0)
    quantized, scale, azp = ops.scaled_int8_quant(x, symmetric=False)
    adjust = weight.sum(1, dtype=torch.int32)
    out = ops.cutlass_scaled_mm_azp(quantized, weight.t(), scale, torch.ones(1), torch.float32, adjust, azp)
    assert_close(out, x.double() @ weight.t().double())


def test_azp_and_symmetric_must_agree():
    with pytest.raises(ValueError, match="symmetric=True with an azp is not accepted"):
        ops.scaled_int8_quant(torch.zeros(1, 8), torch.ones(1), torch.zeros(1, dtype=torch.int32))


@given(st.integers(0, 9), hidden_sizes, st.integers(1, 70), dtypes, *[st.booleans()] * 5, seeds)
def test_scaled_mm(m, n, k, dtype, by_row, by_column, with_bias, zero_points, zero_for_all, seed):
    generator = torch.Generator().manual_seed(seed)
    a, weight = (torch.randint(-128, 128, shape, generator=generator).to(torch.int8) for shape in ((m, k), (n, k)))
    a_scale = torch.rand((m, 1) if by_row else (1,), generator=generator) / 1000 + 1e-3
    b_scale = torch.rand((n,) if by_column else (1,), generator=generator) / 1000 + 1e-3
    bias = randn((n,), dtype, seed) if with_bias else None
    product = a.double() @ weight.double().t()
    if zero_points:
        azp = torch.randint(-128, 128, (m, 1), generator=generator).int()
        adjust, given_azp = weight.int().sum(1, dtype=torch.int32), azp
        if zero_for_all:
            azp, given_azp = torch.tensor([[3]]), None
            adjust = adjust * 3
        product -= azp.double() * weight.double().sum(1)
        out = ops.cutlass_scaled_mm_azp(a, weight.t(), a_scale, b_scale, dtype, adjust, given_azp, bias)
    else:
        out = ops.cutlass_scaled_mm(a, weight.t(), a_scale, b_scale, dtype, bias)
    expected = a_scale.double() * product * b_scale.double() + (0 if bias is None else bias.double())
    assert_close(out, expected, terms=1.0)


def test_scaled_mm_of_more_dimensions():
    a, weight = (torch.arange(120).view(2, 3, 20) % 7).to(torch.int8), torch.ones(5, 20, dtype=torch.int8)
    scales, bias, adjust = torch.rand(6, 1), randn((1, 5), torch.bfloat16, 0), torch.full((5,), 20, dtype=torch.int32)
    arguments = (weight.t(), scales, torch.ones(1), torch.bfloat16)
    sums = a.sum(-1, keepdim=True).double().expand(2, 3, 5)
    out = ops.cutlass_scaled_mm(a, *arguments, bias)
    assert_close(out, scales.view(2, 3, 1).double() * sums + bias.double())
    out = ops.cutlass_scaled_mm_azp(a, *arguments, adjust, None, bias)
    assert_close(out, scales.view(2, 3, 1).double() * (sums - 20) + bias.double())


def test_products_of_fp8_are_for_builds_with_cuda():
    built = hasattr(torch.ops._C, "cutlass_scaled_mm_supports_fp8") and torch.version.hip is None
    assert ops.cutlass_scaled_mm_supports_fp8(90) is built and ops.cutlass_scaled_mm_supports_block_fp8(90) is built
    assert not ops.cutlass_scaled_mm_supports_fp8(80)


def test_opcheck():
    x, one, c = randn((3, 40), torch.bfloat16, 0), torch.ones(1), torch.ops._C
    fp8, int8 = torch.empty(3, 40, dtype=FP8), torch.empty(3, 40, dtype=torch.int8)
    ints, floats = torch.zeros(3, 1, dtype=torch.int32), torch.ones(3, 1)
    a, weight, out = int8.zero_(), torch.ones(7, 40, dtype=torch.int8), torch.empty(3, 7)
    adjust = torch.ones(7, dtype=torch.int32)
    for op, arguments in (
        (c.static_scaled_int8_quant, (int8.clone(), x, one, ints[:1, 0])),
        (c.dynamic_scaled_int8_quant, (int8.clone(), x, floats, ints)),
        (c.cutlass_scaled_mm, (out, a, weight.t(), one, one, None)),
        (c.cutlass_scaled_mm_azp, (out, a, weight.t(), one, one, adjust, ints, None)),
    ):
        torch.library.opcheck(op.default, arguments)
    # opcheck's other tests compare tensors, which torch cannot do in fp8.
    for op, arguments in (
        (c.static_scaled_fp8_quant, (fp8, x, one)),
        (c.dynamic_scaled_fp8_quant, (fp8, x, floats.clone())),
        (c.dynamic_per_token_scaled_fp8_quant, (fp8, x, floats, None)),
    ):
        torch.library.opcheck(op.default, arguments, test_utils=("test_faketensor",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 8), torch.zeros(8, 4), 1, 1), "a is float32, expected int8"),
        (("a", torch.zeros(8, 4, dtype=torch.int8), 1, 1), "b has stride 4 in its first dimension, expected 1"),
        (("a", torch.zeros(4, 7, dtype=torch.int8).t(), 1, 1), r"b has shape \[7, 4\], expected \[8, any\]"),
        (("a", torch.zeros(4, 8, dtype=torch.int8).t(), 3, 1), r"a_scales has shape \[3\], expected 2 values"),
        (("a", torch.zeros(4, 8, dtype=torch.int8).t(), 1, 3), r"b_scales has shape \[3\], expected 4 values"),
    ],
)
def test_refusals_of_scaled_mm(arguments, message):
    a, b, a_scales, b_scales = arguments
    a = torch.zeros(2, 8, dtype=torch.int8) if isinstance(a, str) else a
    with pytest.raises(RuntimeError, match=f"cutlass_scaled_mm: {message}"):
        ops.cutlass_scaled_mm(a, b, torch.ones(a_scales), torch.ones(b_scales), torch.bfloat16)


def test_refusals_of_quantisation():
    with pytest.raises(RuntimeError, match="static_scaled_fp8_quant: result is int8, expected float8_e4m3fn"):
        ops.scaled_fp8_quant(torch.zeros(2, 8), torch.ones(1), output=torch.zeros(2, 8, dtype=torch.int8))
    with pytest.raises(RuntimeError, match=r"static_scaled_int8_quant: scale has shape \[2\], expected 1 value"):
        ops.scaled_int8_quant(torch.zeros(2, 8), torch.ones(2))
