import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from support.kernel_inputs import DTYPES, assert_close, dtypes, layouts, randn, seeds, with_layout
from vllm.kernels import linear

# Around the heights of register tiles (6, 12), and where prefill starts.
row_counts = st.one_of(st.integers(0, 40), st.sampled_from([64, 97]))
sizes = st.one_of(st.integers(1, 70), st.sampled_from([96, 128, 257, 576]))


def tensors(m, n, k, dtype, seed):
    """Weights of order 1 / sqrt(k), so that outputs are of order 1."""
    return randn((m, k), dtype, seed), randn((n, k), dtype, seed + 1, k**-0.5), randn((n,), dtype, seed + 2)


@given(row_counts, sizes, sizes, dtypes, layouts, layouts, st.booleans(), st.booleans(), seeds)
def test_linear(m, n, k, dtype, layout, out_layout, with_bias, f32_out, seed):
    x, weight, bias = tensors(m, n, k, dtype, seed)
    packed = linear.pack_linear_weight(with_layout(weight, layout))
    out = with_layout(torch.full((m, n), 9.0, dtype=torch.float32 if f32_out else dtype), out_layout)
    linear.linear_packed(out, with_layout(x, layout), packed, bias if with_bias else None)
    expected = x.double() @ weight.double().t() + (bias.double() if with_bias else 0.0)
    assert_close(out, expected, terms=1.0)


@given(row_counts, sizes, sizes, dtypes, seeds)
def test_silu_and_mul(m, n, k, dtype, seed):
    x, gate, _ = tensors(m, n, k, dtype, seed)
    _, up, _ = tensors(0, n, k, dtype, seed + 3)
    out = torch.empty(m, n, dtype=dtype)
    linear.linear_packed_silu_and_mul(out, x, linear.pack_gate_up_weight(torch.cat((gate, up))))
    assert_close(out, F.silu(x.double() @ gate.double().t()) * (x.double() @ up.double().t()), terms=1.0)


@given(sizes, sizes, dtypes, layouts, st.lists(st.integers(0, 10**6), max_size=20), seeds)
def test_gather(n, k, dtype, layout, ids, seed):
    weight = randn((n, k), dtype, seed)
    ids = torch.tensor(ids, dtype=torch.int64) % n
    out = with_layout(torch.zeros(len(ids), k, dtype=dtype), layout)
    linear.gather_packed_rows(out, linear.pack_linear_weight(weight), ids)
    assert torch.equal(out, weight[ids])


@given(st.integers(1, 100), sizes, dtypes, seeds)
def test_row_does_not_depend_on_the_batch(m, k, dtype, seed):
    x, weight, bias = tensors(m, 80, k, dtype, seed)
    packed = linear.pack_linear_weight(weight)
    out, alone = torch.empty(m, 80, dtype=dtype), torch.empty(1, 80, dtype=dtype)
    linear.linear_packed(out, x, packed, bias)
    for row in {0, m // 2, m - 1}:
        linear.linear_packed(alone, x[row : row + 1], packed, bias)
        assert torch.equal(alone[0], out[row])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 5, 16, 300])
def test_result_does_not_depend_on_threads(dtype, m):
    x, weight, _ = tensors(m, 900, 1030, dtype, 0)
    packed, threads = linear.pack_linear_weight(weight), torch.get_num_threads()
    out, single = torch.empty(2, m, 900, dtype=dtype)
    linear.linear_packed(out, x, packed)
    try:
        torch.set_num_threads(1)
        linear.linear_packed(single, x, packed)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(out, single)


def test_input_larger_than_the_packing_buffer():
    x, weight, bias = tensors(5000, 40, 1000, torch.float32, 0)
    out = torch.empty(5000, 40)
    linear.linear_packed(out, x, linear.pack_linear_weight(weight), bias)
    assert_close(out, x.double() @ weight.double().t() + bias.double(), terms=1.0)


def test_padding_reads_as_zero():
    packed = linear.pack_linear_weight(torch.ones(5, 8))
    out = torch.ones(1, 8)
    linear.gather_packed_rows(out, packed, torch.tensor([5]))
    assert out.count_nonzero() == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype):
    ops = torch.ops._C
    x, weight, bias = tensors(3, 40, 33, dtype, 0)
    packed, gate_up = linear.pack_linear_weight(weight), linear.pack_gate_up_weight(weight)
    torch.library.opcheck(ops.pack_linear_weight.default, (weight,))
    torch.library.opcheck(ops.pack_gate_up_weight.default, (weight,))
    torch.library.opcheck(ops.linear_packed.default, (torch.empty(3, 40, dtype=dtype), x, packed, bias))
    torch.library.opcheck(ops.linear_packed_silu_and_mul.default, (torch.empty(3, 20, dtype=dtype), x, gate_up))
    ids = torch.tensor([0, 39])
    torch.library.opcheck(ops.gather_packed_rows.default, (torch.empty(2, 33, dtype=dtype), packed, ids))


X, PACKED = torch.zeros(2, 8), linear.pack_linear_weight(torch.zeros(40, 8))
OUT = torch.zeros(2, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((OUT, X.half(), PACKED), "input is float16, expected float32 as packed is"),
        ((OUT, X[:, :6].contiguous(), PACKED), "packed has shape .* not a packed weight of 40 x 6"),
        ((torch.zeros(2, 70), X, PACKED), "packed has shape .* not a packed weight of 70 x 8"),
        ((OUT, X, torch.zeros(40, 8)), "packed has shape .*: pack it with pack_linear_weight"),
        ((OUT[:1], X, PACKED), r"out has shape \[1, 40\], expected \[2, any\]"),
        ((OUT.bfloat16(), X, PACKED), "out is bfloat16, expected float32 as input is"),
        ((OUT, X, PACKED, torch.zeros(39)), r"bias has shape \[39\], expected \[40\]"),
        ((OUT, X, PACKED, torch.zeros(40).half()), "bias is float16, expected float32 as packed is"),
        ((OUT, X.t().contiguous().t(), PACKED), "input has stride 2 in its last dimension, expected 1"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(RuntimeError, match=f"linear_packed: {message}"):
        linear.linear_packed(*arguments)


def test_odd_gate_up_is_refused():
    with pytest.raises(RuntimeError, match="pack_gate_up_weight: weight has 3 rows, expected an even number"):
        linear.pack_gate_up_weight(torch.zeros(3, 8))


@pytest.mark.parametrize("token", [-1, 64])
def test_ids_outside_the_weight_are_refused(token):
    with pytest.raises(RuntimeError, match=f"gather_packed_rows: ids has {token} at 1, expected row numbers"):
        linear.gather_packed_rows(torch.zeros(2, 8), PACKED, torch.tensor([0, token]))
