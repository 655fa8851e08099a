"""cutlass_scaled_mm and cutlass_scaled_mm_azp: products of int8 and of e4m3 with scales of rows, columns and blocks."""

import threading

import pytest
import torch

from support.device_cases import scale_blocks
from support.device_ops import DEVICE, Ops, needs_device, overload
from support.kernel_inputs import assert_close, randn

ops = Ops("_C")
FP8 = torch.float8_e4m3fn
INT8 = torch.int8
# Tiles of each shape (to 16 rows, to 64, more), several of them, parts of one, and k for more than their stages hold.
SHAPES = [(1, 16, 16), (16, 80, 592), (37, 208, 80), (70, 48, 272), (150, 144, 48)]
shapes = pytest.mark.parametrize(("m", "n", "k"), SHAPES)


def matrix(rows, k, dtype, seed):
    if dtype is INT8:
        return torch.randint(-128, 128, (rows, k), generator=torch.Generator().manual_seed(seed)).to(INT8)
    return randn((rows, k), torch.float32, seed, 3.0).to(FP8)


def padded_rows(x):
    """A view of the same values whose rows lie 16 further apart."""
    wider = torch.zeros(x.shape[0], x.shape[1] + 16, dtype=x.dtype)
    wider[:, : x.shape[1]] = x
    return wider[:, : x.shape[1]]


def scales(count, seed):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) / 100 + 1e-3


def check(out, product, a_scale, b_scale, bias=None, terms=1e-3):
    """`terms`: f32's error of the sums of e4m3, whose terms are much larger than some of the results."""
    expected = a_scale.double() * product * b_scale.double() + (0 if bias is None else bias.double())
    assert_close(out, expected, terms=terms)


@shapes
@pytest.mark.parametrize("dtype", [INT8, FP8])
@pytest.mark.parametrize("by_row", [False, True])
def test_scales_of_rows_and_columns(m, n, k, dtype, by_row):
    a, b = padded_rows(matrix(m, k, dtype, 0)), matrix(n, k, dtype, 1)
    a_scale, b_scale = scales((m, 1) if by_row else (1,), 2), scales((1,) if by_row else (n,), 3)
    out_dtype = torch.bfloat16 if by_row else torch.float16
    bias = randn((n,), out_dtype, 4) if by_row else None
    out = padded_rows(torch.zeros(m, n, dtype=out_dtype))
    ops.cutlass_scaled_mm(out, a, b.t(), a_scale, b_scale, bias)
    check(out, a.double() @ b.double().t(), a_scale, b_scale, bias)


@shapes
@pytest.mark.parametrize("with_bias", [False, True])
def test_zero_points(m, n, k, with_bias):
    a, b = matrix(m, k, INT8, 0), matrix(n, k, INT8, 1)
    azp = torch.randint(-128, 128, (m, 1), generator=torch.Generator().manual_seed(5)).int()
    columns = b.sum(1, dtype=torch.int32)
    a_scale, b_scale, bias = scales((m, 1), 2), scales((n, 1), 3), randn((1, n), torch.bfloat16, 4)
    bias = bias if with_bias else None
    out = torch.empty(m, n, dtype=torch.bfloat16)
    ops.cutlass_scaled_mm_azp(out, a, b.t(), a_scale, b_scale, columns, azp, bias)
    product = (a.double() - azp.double()) @ b.double().t()
    check(out, product, a_scale, b_scale.t(), bias)
    ops.cutlass_scaled_mm_azp(out, a, b.t(), a_scale, b_scale, 3 * columns, None, bias)
    check(out, (a.double() - 3) @ b.double().t(), a_scale, b_scale.t(), bias)


@pytest.mark.parametrize("dtype", [INT8, FP8])
def test_first_work_of_a_thread(dtype):
    """In which nothing has made the device's context current yet."""
    needs_device()
    made = matrix(70, 272, dtype, 0), matrix(48, 272, dtype, 1), scales((70, 1), 2), scales((48,), 3)
    a, b, *both = (x.to(DEVICE) for x in made)
    out = torch.zeros(70, 48, dtype=torch.bfloat16, device=DEVICE)
    multiply = overload("_C", "cutlass_scaled_mm")
    thread = threading.Thread(target=multiply, args=(out, a, b.t(), *both, None))
    thread.start()
    thread.join()
    check(out.cpu(), made[0].double() @ made[1].double().t(), *made[2:])


def test_sums_of_int8_are_exact():
    k = 4096
    a, b = torch.full((2, k), -128, dtype=INT8), torch.full((16, k), -128, dtype=INT8)
    a[1, -1] = 127
    out = torch.empty(2, 16)
    ops.cutlass_scaled_mm(out, a, b.t(), torch.ones(1), torch.ones(1), None)
    assert out[0].eq(128 * 128 * k).all() and out[1].eq(128 * 128 * (k - 1) - 127 * 128).all()


@pytest.mark.parametrize(("m", "n", "k"), [(1, 144, 128), (30, 272, 400), (70, 48, 272)])
@pytest.mark.parametrize("by_column", [False, True])
def test_scales_of_blocks(m, n, k, by_column):
    """As quantisers write them, and transposed in memory."""
    a, b = matrix(m, k, FP8, 0), matrix(n, k, FP8, 1)
    a_scale, b_scale = scales((m, -(-k // 128)), 2), scales((-(-n // 128), -(-k // 128)), 3)
    given = a_scale.t().contiguous().t() if by_column else a_scale
    out, bias = torch.empty(m, n, dtype=torch.bfloat16), randn((n,), torch.bfloat16, 4)
    ops.cutlass_scaled_mm(out, a, b.t(), given, b_scale.t(), bias)
    left, right = scale_blocks(a, a_scale, 1), scale_blocks(b, b_scale, 128)
    assert_close(out, left @ right.t() + bias.double(), terms=1e-3)


@pytest.mark.parametrize(("capability", "supported"), [(75, False), (80, False), (89, True), (90, True), (121, True)])
def test_support_of_fp8(capability, supported):
    assert ops.cutlass_scaled_mm_supports_fp8(capability) is supported
    assert ops.cutlass_scaled_mm_supports_block_fp8(capability) is supported


def zeros(*shape, dtype=INT8):
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": torch.zeros(2, 32)}, "a is float32, expected float8_e4m3fn"),
        ({"b": zeros(16, 32, dtype=FP8).t()}, "b is float8_e4m3fn, expected int8"),
        ({"b": zeros(32, 16)}, "b has stride 16 in its first dimension, expected 1"),
        ({"a": zeros(2, 24), "b": zeros(16, 24).t()}, "a has rows of 24 bytes, 24 apart, expected multiples of 16"),
        ({"out": torch.zeros(2, 24), "b": zeros(24, 32).t()}, "out has rows of 24, 24 apart, expected multiples of 16"),
        ({"a_scales": torch.ones(3)}, r"a_scales has shape \[3\], expected 2 values"),
        ({"b_scales": torch.ones(1, 3)}, r"b_scales has shape \[1, 3\], expected 16 values"),
        ({"bias": torch.zeros(15)}, r"bias has shape \[15\], expected \[16\]"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refusals(changed, message):
    given = {
        "out": torch.zeros(2, 16), "a": zeros(2, 32), "b": zeros(16, 32).t(), "a_scales": torch.ones(1),
        "b_scales": torch.ones(1), "bias": None,
    } | changed  # fmt: skip
    with pytest.raises(RuntimeError, match=f"cutlass_scaled_mm: {message}"):
        ops.cutlass_scaled_mm(*given.values())


def test_refusals_of_block_scales():
    a, b, out = zeros(2, 256, dtype=FP8), zeros(256, 256, dtype=FP8), torch.zeros(2, 256)
    with pytest.raises(RuntimeError, match=r"a_scales has shape \[2, 3\], expected \[2, 2\] = \[rows of a, k / 128\]"):
        ops.cutlass_scaled_mm(out, a, b.t(), torch.ones(2, 3), torch.ones(2, 2), None)
    with pytest.raises(RuntimeError, match="cutlass_scaled_mm_azp: a is float8_e4m3fn, expected int8"):
        ops.cutlass_scaled_mm_azp(out, a, b.t(), torch.ones(1), torch.ones(1), zeros(256).int(), None, None)
