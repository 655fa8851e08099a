import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from support.kernel_inputs import DTYPES, assert_close, dtypes, layouts, randn, seeds, with_layout
from support.quantized_reference import Codes, quantized_input, random_codes
from vllm.kernels import linear
from vllm.kernels.quantized_linear import pack_quantized_weight, quantize_weight

row_counts = st.one_of(st.integers(0, 40), st.sampled_from([64, 97]))
sizes = st.one_of(st.integers(1, 70), st.sampled_from([96, 128, 257, 576]))
# bits, group size, one scale a row, zeros
FORMATS = [
    (8, -1, True, False),
    (8, 64, True, False),
    (8, 32, False, False),
    (8, 40, False, True),
    (4, 32, False, False),
    (4, 128, False, True),
    (4, -1, False, False),
]
formats = st.sampled_from(FORMATS)


def pack(weight: Codes, **options) -> torch.Tensor:
    return pack_quantized_weight(
        weight.codes, weight.scales, weight.zeros, bits=weight.bits, group_size=weight.group_size, **options
    )


@given(row_counts, sizes, sizes, formats, dtypes, layouts, layouts, st.booleans(), st.booleans(), seeds)
def test_linear(m, n, k, form, dtype, layout, out_layout, with_bias, f32_out, seed):
    weight, x = random_codes(n, k, *form, seed), randn((m, k), dtype, seed)
    bias = randn((n,), dtype, seed + 1) if with_bias else None
    out = with_layout(torch.full((m, n), 9.0, dtype=torch.float32 if f32_out else dtype), out_layout)
    linear.linear_packed(out, with_layout(x, layout), pack(weight), bias)
    expected = quantized_input(x, weight.group) @ weight.dequantized().t()
    assert_close(out, expected + (bias.double() if with_bias else 0.0), terms=1.0)


@pytest.mark.parametrize("form", FORMATS)
def test_error_of_the_quantised_input_is_small(form):
    weight, x = random_codes(200, 896, *form, 0), randn((50, 896), torch.bfloat16, 1)
    out = torch.empty(50, 200)
    linear.linear_packed(out, x, pack(weight))
    exact = x.double() @ weight.dequantized().t()
    assert (out - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("largest", [True, False])
def test_largest_sums(form, sign, largest):
    """All codes as large or as small as they can be, of one sign, as narrow sums hold them least."""
    weight, x = random_codes(40, 576, *form, 0), torch.full((7, 576), sign)
    weight.codes.fill_(2**weight.bits - 1 if largest else 0)
    out = torch.empty(7, 40)
    linear.linear_packed(out, x, pack(weight))
    assert_close(out, quantized_input(x, weight.group) @ weight.dequantized().t(), terms=1.0)


@given(row_counts, sizes, sizes, formats, dtypes, seeds)
def test_silu_and_mul(m, n, k, form, dtype, seed):
    weight, x = random_codes(2 * n, k, *form, seed), randn((m, k), dtype, seed)
    out = torch.empty(m, n, dtype=dtype)
    linear.linear_packed_silu_and_mul(out, x, pack(weight, gate_up=True))
    gate, up = (quantized_input(x, weight.group) @ weight.dequantized().t()).split(n, 1)
    assert_close(out, F.silu(gate) * up, terms=1.0)


@given(sizes, formats, dtypes, seeds)
def test_permuted_columns(k, form, dtype, seed):
    weight, x = random_codes(50, k, *form, seed), randn((5, k), dtype, seed)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(seed)).int()
    out, plain = torch.empty(2, 5, 50, dtype=dtype)
    linear.linear_packed(out, x, pack(weight, permutation=order))
    linear.linear_packed(plain, x[:, order].contiguous(), pack(weight))
    assert torch.equal(out, plain)


@given(sizes, sizes, formats, dtypes, st.booleans(), st.lists(st.integers(0, 10**6), max_size=20), seeds)
def test_gather(n, k, form, dtype, permuted, ids, seed):
    weight, ids = random_codes(n, k, *form, seed), torch.tensor(ids, dtype=torch.int64) % n
    order = torch.randperm(k, generator=torch.Generator().manual_seed(seed)).int() if permuted else None
    out = torch.zeros(len(ids), k, dtype=dtype)
    linear.gather_packed_rows(out, pack(weight, permutation=order), ids)
    expected = weight.dequantized()[ids]
    if permuted:
        expected = torch.empty_like(expected).index_copy_(1, order.long(), expected)
    assert_close(out, expected)


@given(st.integers(1, 100), sizes, formats, dtypes, seeds)
def test_row_does_not_depend_on_the_batch(m, k, form, dtype, seed):
    packed, x = pack(random_codes(80, k, *form, seed)), randn((m, k), dtype, seed)
    out, alone = torch.empty(m, 80, dtype=dtype), torch.empty(1, 80, dtype=dtype)
    linear.linear_packed(out, x, packed)
    for row in {0, m // 2, m - 1}:
        linear.linear_packed(alone, x[row : row + 1], packed)
        assert torch.equal(alone[0], out[row])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("m", [1, 16, 300])
def test_result_does_not_depend_on_threads(form, m):
    packed, x = pack(random_codes(900, 1030, *form, 0)), randn((m, 1030), torch.bfloat16, 1)
    threads = torch.get_num_threads()
    out, single = torch.empty(2, m, 900)
    linear.linear_packed(out, x, packed)
    try:
        torch.set_num_threads(1)
        linear.linear_packed(single, x, packed)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(out, single)


def test_input_larger_than_the_packing_buffer():
    weight, x = random_codes(40, 1000, 8, 32, False, False, 0), randn((18000, 1000), torch.bfloat16, 1)
    out = torch.empty(18000, 40)
    linear.linear_packed(out, x, pack(weight))
    assert_close(out, quantized_input(x, 32) @ weight.dequantized().t(), terms=1.0)


def test_largest_sums_do_not_overflow():
    k = 65536
    codes, scales = torch.full((1, k), 255, dtype=torch.uint8), torch.ones(1, 1)
    packed, out = pack_quantized_weight(codes, scales, bits=8), torch.empty(2, 1)
    linear.linear_packed(out, torch.stack((torch.ones(k), -torch.ones(k))), packed)
    assert_close(out, torch.tensor([[127.0 * k], [-127.0 * k]]))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_rows_that_are_not_finite_give_nan_and_leave_others_alone(form, bad):
    packed, x = pack(random_codes(40, 96, *form, 0)), randn((3, 96), torch.float32, 1)
    clean, out = torch.empty(2, 3, 40)
    linear.linear_packed(clean, x, packed)
    x[1, 50] = bad
    linear.linear_packed(out, x, packed)
    assert out[1].isnan().all()
    assert torch.equal(out[[0, 2]], clean[[0, 2]])


def test_scales_of_any_size_are_kept():
    """Group scales are stored as f16 beside a power of two for each row."""
    weight = random_codes(40, 64, 4, 32, False, False, 0)
    weight.scales *= 2.0 ** torch.arange(-20, 20).unsqueeze(1)
    out = torch.empty(40, 64)
    linear.gather_packed_rows(out, pack(weight), torch.arange(40))
    torch.testing.assert_close(out.double(), weight.dequantized(), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype):
    weight, x = random_codes(40, 40, 4, 8, False, True, 0), randn((3, 40), dtype, 0)
    packed, gate_up = pack(weight), pack(weight, gate_up=True)
    pack_op = torch.ops._C.pack_quantized_weight.default
    order = torch.arange(40, dtype=torch.int32)
    for permutation in (None, order):
        for merged in (False, True):
            arguments = (weight.codes, weight.scales, weight.zeros, permutation, 4, 8, merged)
            torch.library.opcheck(pack_op, arguments)
    torch.library.opcheck(pack_op, (weight.codes, torch.ones(40, 1), None, None, 8, -1, False))
    ops = torch.ops._C
    torch.library.opcheck(ops.linear_packed.default, (torch.empty(3, 40, dtype=dtype), x, packed, None))
    torch.library.opcheck(ops.linear_packed_silu_and_mul.default, (torch.empty(3, 20, dtype=dtype), x, gate_up))
    ids = torch.tensor([0, 39])
    torch.library.opcheck(ops.gather_packed_rows.default, (torch.empty(2, 40, dtype=dtype), packed, ids))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", [4, 8])
def test_quantize_weight_opcheck(dtype, bits):
    torch.library.opcheck(torch.ops._C.quantize_weight.default, (randn((5, 70), dtype, 0), bits))


def test_four_bit_rounding_is_better_than_the_obvious_one():
    weight = randn((64, 896), torch.bfloat16, 0)
    codes, scales = quantize_weight(weight, 4)
    groups = weight.float().unflatten(1, (-1, 32))
    error = (codes.float() - 8).unflatten(1, (-1, 32)) * scales.unsqueeze(2) - groups
    obvious = groups.gather(2, groups.abs().argmax(2, keepdim=True)) / -8
    plain = (groups / obvious).round().clamp(-8, 7) * obvious - groups
    assert (error.square().sum(2) <= plain.square().sum(2) * 1.0001).all()


def test_quantize_weight_refuses_other_bits():
    with pytest.raises(RuntimeError, match="quantize_weight: weight is to be quantised with bits 3, expected 4 or 8"):
        quantize_weight(torch.zeros(2, 8), 3)


CODES, SCALES = torch.zeros(4, 16, dtype=torch.uint8), torch.ones(4, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((CODES, SCALES), {"bits": 5, "group_size": 8}, "codes is to be packed with bits 5, expected 4 or 8"),
        ((CODES, SCALES), {"bits": 4, "group_size": 12}, "group_size 12, expected a multiple of 8, or -1"),
        ((CODES[:, :0], SCALES), {"bits": 4}, "codes has 0 columns, 0 of them in a group, expected 1 to 65536"),
        ((CODES + 16, SCALES), {"bits": 4, "group_size": 8}, "codes has codes above 15"),
        ((CODES, SCALES), {"bits": 4, "group_size": 16}, r"scales has shape \[4, 2\], expected \[4, 1\]"),
        ((CODES, SCALES.double()), {"bits": 4, "group_size": 8}, "scales is float64, expected float32"),
        ((CODES, SCALES, SCALES), {"bits": 4, "group_size": 8}, "zeros is float32, expected int32"),
        ((CODES[:3], SCALES[:3]), {"bits": 4, "group_size": 8, "gate_up": True}, "codes has 3 rows, expected an even"),
        (
            (CODES, SCALES, None, torch.zeros(16, dtype=torch.int32)),
            {"bits": 4, "group_size": 8},
            "permutation has 0 at 1, expected each column below 16 once",
        ),
    ],
)
def test_refusals_of_packing(arguments, options, message):
    with pytest.raises(RuntimeError, match=f"pack_quantized_weight: .*{message}"):
        pack_quantized_weight(*arguments, **options)


PACKED = pack_quantized_weight(CODES, SCALES, bits=4, group_size=8)


@pytest.mark.parametrize(
    ("out", "x", "packed", "message"),
    [
        ((2, 5), (2, 16), PACKED, "packed is a packed weight of 4 x 16, which does not fit"),
        ((2, 4), (2, 15), PACKED, "packed is a packed weight of 4 x 16, which does not fit"),
        ((2, 4), (2, 16), PACKED[:-1], "packed of bytes is not a packed weight: pack it with pack_quantized_weight"),
        ((2, 4), (2, 16), CODES.flatten(), "packed of bytes is not a packed weight"),
    ],
)
def test_refusals(out, x, packed, message):
    with pytest.raises(RuntimeError, match=f"linear_packed: {message}"):
        linear.linear_packed(torch.zeros(out), torch.zeros(x), packed)


def test_ids_outside_the_weight_are_refused():
    with pytest.raises(RuntimeError, match="gather_packed_rows: ids has 4 at 0, expected row numbers"):
        linear.gather_packed_rows(torch.zeros(1, 16), PACKED, torch.tensor([4]))
