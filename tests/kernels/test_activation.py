import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.kernel_inputs import assert_close, dtypes, hidden_sizes, layouts, randn, seeds, with_layout
from vllm.kernels import activation

GATED = {
    activation.silu_and_mul: reference.gated(F.silu),
    activation.mul_and_silu: reference.mul_and_silu,
    activation.gelu_and_mul: reference.gated(F.gelu),
    activation.gelu_tanh_and_mul: reference.gated(reference.gelu_tanh),
    activation.swigluoai_and_mul: reference.swigluoai_and_mul,
}
SINGLE = {
    activation.gelu_new: reference.gelu_tanh,
    activation.gelu_fast: reference.gelu_tanh,
    activation.gelu_quick: reference.gelu_quick,
}
leading = st.lists(st.integers(0, 5), min_size=0, max_size=3).map(tuple)


@pytest.mark.parametrize("op", GATED, ids=lambda op: op.__name__)
@given(leading=leading, size=hidden_sizes, dtype=dtypes, layout=layouts, out_layout=layouts, seed=seeds)
def test_gated(op, leading, size, dtype, layout, out_layout, seed):
    x = randn((*leading, 2 * size), dtype, seed, 3.0)
    out = with_layout(torch.zeros((*leading, size), dtype=dtype), out_layout)
    op(out, with_layout(x, layout))
    assert_close(out, GATED[op](x))


@pytest.mark.parametrize("op", SINGLE, ids=lambda op: op.__name__)
@given(leading=leading, size=hidden_sizes, dtype=dtypes, layout=layouts, out_layout=layouts, seed=seeds)
def test_single(op, leading, size, dtype, layout, out_layout, seed):
    x = randn((*leading, size), dtype, seed, 3.0)
    out = with_layout(torch.zeros_like(x), out_layout)
    op(out, with_layout(x, layout))
    assert_close(out, SINGLE[op](x))


@given(size=hidden_sizes, dtype=dtypes, threshold=st.sampled_from([0.0, 0.5, -0.25]), seed=seeds)
def test_fatrelu_and_mul(size, dtype, threshold, seed):
    x = randn((3, 2 * size), dtype, seed)
    out = torch.empty(3, size, dtype=dtype)
    activation.fatrelu_and_mul(out, x, threshold)
    assert_close(out, reference.fatrelu_and_mul(x, threshold))


@given(alpha=st.sampled_from([1.0, 1.702]), limit=st.sampled_from([0.5, 7.0]), seed=seeds)
def test_swigluoai_parameters(alpha, limit, seed):
    x = randn((5, 66), torch.float32, seed, 4.0)
    out = torch.empty(5, 33)
    activation.swigluoai_and_mul(out, x, alpha, limit)
    assert_close(out, reference.swigluoai_and_mul(x, alpha, limit))


@pytest.mark.parametrize("op", [*GATED, *SINGLE], ids=lambda op: op.__name__)
@pytest.mark.parametrize("value", [-1e4, -90.0, -20.0, 20.0, 90.0, 1e4])
def test_saturation(op, value):
    inputs = 2 if op in GATED else 1
    x = torch.full((1, 40 * inputs), value)
    out = torch.empty(1, 40)
    op(out, x)
    assert_close(out, (GATED | SINGLE)[op](x))


def test_refusals():
    x = torch.zeros(2, 8)
    with pytest.raises(RuntimeError, match=r"silu_and_mul: result has shape \[2, 8\], expected .* half its last"):
        activation.silu_and_mul(x, x)
    with pytest.raises(RuntimeError, match=r"gelu_new: out has shape \[2, 4\], expected that of input \[2, 8\]$"):
        activation.gelu_new(x[:, :4], x)
    with pytest.raises(RuntimeError, match="gelu_quick: input is int64, expected float32, bfloat16 or float16"):
        activation.gelu_quick(x, x.long())
