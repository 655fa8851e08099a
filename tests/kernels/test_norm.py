import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.kernel_inputs import assert_close, dtypes, hidden_sizes, layouts, randn, seeds, with_layout
from vllm.kernels import norm

leading = st.lists(st.integers(0, 5), min_size=0, max_size=3).map(tuple)


@given(leading, hidden_sizes, dtypes, layouts, layouts, seeds)
def test_rms_norm(leading, hidden, dtype, layout, out_layout, seed):
    x, weight = randn((*leading, hidden), dtype, seed, 3.0), randn((hidden,), dtype, seed + 1)
    expected = reference.rms_norm(x, weight, 1e-6)
    out = with_layout(torch.zeros_like(x), out_layout)
    norm.rms_norm(out, with_layout(x, layout), weight, 1e-6)
    assert_close(out, expected)


@given(leading, hidden_sizes, dtypes, layouts, layouts, seeds)
def test_fused_add_rms_norm(leading, hidden, dtype, layout, residual_layout, seed):
    x, residual = randn((*leading, hidden), dtype, seed), randn((*leading, hidden), dtype, seed + 1, 3.0)
    weight = randn((hidden,), dtype, seed + 2)
    expected_residual = (x.float() + residual.float()).to(dtype)
    expected = reference.rms_norm(expected_residual, weight, 1e-5)
    x, residual = with_layout(x, layout), with_layout(residual, residual_layout)
    norm.fused_add_rms_norm(x, residual, weight, 1e-5)
    assert torch.equal(residual, expected_residual)
    assert_close(x, expected)


def test_many_rows_run_in_parallel():
    x, weight = randn((700, 896), torch.bfloat16, 0), randn((896,), torch.bfloat16, 1)
    out = torch.empty_like(x)
    norm.rms_norm(out, x, weight, 1e-6)
    one = torch.empty_like(x)
    for i in range(x.shape[0]):
        norm.rms_norm(one[i], x[i], weight, 1e-6)
    assert torch.equal(out, one)


def test_in_place():
    x, weight = randn((3, 64), torch.float32, 0), torch.ones(64)
    expected = reference.rms_norm(x, weight, 1e-6)
    norm.rms_norm(x, x, weight, 1e-6)
    assert_close(x, expected)


@given(st.integers(1, 4), leading, hidden_sizes, dtypes, layouts, seeds)
def test_a_weight_for_each_of_the_outermost_dimension(outer, leading, hidden, dtype, layout, seed):
    x, weight = randn((outer, *leading[:2], hidden), dtype, seed), randn((outer, hidden), dtype, seed + 1)
    out = torch.empty_like(x)
    norm.rms_norm(out, with_layout(x, layout), weight, 1e-6)
    for i in range(outer):
        assert_close(out[i], reference.rms_norm(x[i], weight[i], 1e-6))


@given(leading, hidden_sizes, dtypes, layouts, seeds)
def test_without_a_weight(leading, hidden, dtype, layout, seed):
    x, residual = randn((2, *leading, hidden), dtype, seed)
    out = torch.empty_like(x)
    norm.rms_norm(out, with_layout(x, layout), None, 1e-6)
    assert_close(out, reference.rms_norm(x, torch.ones(hidden), 1e-6))
    expected = (x.float() + residual.float()).to(dtype)
    x = with_layout(x, layout)
    norm.fused_add_rms_norm(x, residual, None, 1e-6)
    assert_close(x, reference.rms_norm(expected, torch.ones(hidden), 1e-6))


def test_offsets_beyond_32_bits():
    memory = torch.empty(2**32 + 64, dtype=torch.float16)
    x = memory.as_strided((2, 32), (2**32, 1))
    x.copy_(randn((2, 32), torch.float16, 0))
    out = torch.empty(2, 32, dtype=torch.float16)
    norm.rms_norm(out, x, torch.ones(32, dtype=torch.float16), 1e-6)
    assert_close(out, reference.rms_norm(x, torch.ones(32), 1e-6))


X, W = torch.zeros(2, 8), torch.zeros(8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, X.double(), W), "rms_norm: input is float64, expected float32, bfloat16 or float16"),
        ((X, X, W[:4]), r"rms_norm: weight has shape \[4\], expected \[8\] = the last dimension of input"),
        ((X, X, torch.zeros(3, 8)), r"rms_norm: weight has shape \[3, 8\], expected \[2, 8\] = \[first dimension"),
        ((X, X, torch.zeros(1, 1, 8)), r"rms_norm: weight has shape \[1, 1, 8\], expected \[8\]"),
        ((X, X, W.half()), "rms_norm: weight is float16, expected float32 as input is"),
        ((X[:1], X, W), r"rms_norm: result has shape \[1, 8\], expected \[2, 8\] as input has"),
        ((X, X.t().contiguous().t(), W), "rms_norm: input has stride 2 in its last dimension, expected 1"),
        ((X, X, torch.zeros(16)[::2]), r"rms_norm: weight has strides \[2\], expected a contiguous tensor"),
        ((X, torch.tensor(1.0), W), "rms_norm: input is a scalar, expected at least 1 dimension"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        norm.rms_norm(*arguments, 1e-6)


def test_leading_dimensions_that_do_not_merge_are_refused():
    x = torch.zeros(4, 4, 4, 4, 8)[::2, ::2, ::2, ::2]
    with pytest.raises(RuntimeError, match="leading dimensions do not merge into 3"):
        norm.rms_norm(torch.empty_like(x, memory_format=torch.contiguous_format), x, W, 1e-6)
