"""cutlass_sparse_compress, cutlass_scaled_sparse_mm: weights of which at most two of four neighbours are not zero."""

import pytest
import torch

from support.device_ops import Ops
from support.kernel_inputs import assert_close, randn

ops = Ops("_C")
FP8 = torch.float8_e4m3fn
INT8 = torch.int8
TYPES = [INT8, FP8, torch.bfloat16, torch.float16]
types = pytest.mark.parametrize("dtype", TYPES, ids=str)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def matrix(rows, k, dtype, seed):
    if dtype is INT8:
        return torch.randint(-128, 128, (rows, k), generator=generator(seed)).to(INT8)
    return randn((rows, k), torch.float32, seed, 3.0).to(dtype)


def sparse(rows, k, dtype, seed):
    """None, one or two values of every four, at any places."""
    places = torch.rand(rows, k // 4, 4, generator=generator(seed)).argsort(-1)
    kept = places < torch.randint(0, 3, (rows, k // 4, 1), generator=generator(seed + 1))
    return torch.where(kept.view(rows, k), matrix(rows, k, dtype, seed + 2).float(), 0.0).to(dtype)


def expanded(values, places, k):
    """The dense matrix, as csrc/device/sparse.h describes the two."""
    rows = values.shape[0]
    fours = torch.stack((places & 15, places >> 4), -1).view(rows, k // 4).long()
    at = torch.stack((fours & 3, fours >> 2), -1) + 4 * torch.arange(k // 4).view(1, -1, 1)
    return torch.zeros(rows, k).scatter_(1, at.view(rows, k // 2), values.float())


def padded_rows(x):
    """A view of the same values whose rows lie 16 further apart."""
    wider = torch.zeros(x.shape[0], x.shape[1] + 16, dtype=x.dtype)
    wider[:, : x.shape[1]] = x
    return wider[:, : x.shape[1]]


@types
@pytest.mark.parametrize(("rows", "k"), [(1, 8), (3, 24), (40, 1024)])
def test_compressed_and_expanded_again(rows, k, dtype):
    weight = sparse(rows, k, dtype, 0)
    values, places = ops.cutlass_sparse_compress(weight)
    assert values.dtype == dtype and values.shape == (rows, k // 2)
    assert places.dtype == torch.uint8 and places.shape == (rows, k // 8)
    assert torch.equal(expanded(values, places, k), weight.float())


@types
def test_of_more_than_two_the_largest_stay(dtype):
    weight = torch.tensor([[1, -3, 2, -4, 2, -2, 2, 1], [-5, -5, -5, 0, 0, 0, 0, 7]]).to(dtype)
    kept = torch.tensor([[0, -3, 0, -4, 2, -2, 0, 0], [-5, -5, 0, 0, 0, 0, 0, 7]]).float()
    assert torch.equal(expanded(*ops.cutlass_sparse_compress(weight), 8), kept)


def test_the_smallest_int8_is_the_largest():
    weight = torch.tensor([[127, -128, 126, 127, 0, 0, 0, 0]]).to(INT8)
    assert torch.equal(
        expanded(*ops.cutlass_sparse_compress(weight), 8), torch.tensor([[127.0, -128, 0, 0, 0, 0, 0, 0]])
    )


# Tiles of each shape (to 16 rows, to 64, more), several of them, parts of one, and k for more than their stages hold.
@types
@pytest.mark.parametrize(("m", "n", "k"), [(1, 16, 32), (16, 80, 608), (37, 208, 96), (70, 48, 288), (150, 144, 64)])
@pytest.mark.parametrize("by_row", [False, True])
def test_products(m, n, k, dtype, by_row):
    a, weight = padded_rows(matrix(m, k, dtype, 5)), sparse(n, k, dtype, 6)
    a_scales = torch.rand((m, 1) if by_row else (1,), generator=generator(7)) / 100 + 1e-3
    b_scales = torch.rand((1,) if by_row else (n,), generator=generator(8)) / 100 + 1e-3
    out_dtype = torch.bfloat16 if by_row else torch.float16
    bias = randn((n,), out_dtype, 9) if by_row else None
    out = padded_rows(torch.zeros(m, n, dtype=out_dtype))
    ops.cutlass_scaled_sparse_mm(out, a, *ops.cutlass_sparse_compress(weight), a_scales, b_scales, bias)
    expected = a_scales.double() * (a.double() @ weight.double().t()) * b_scales.double()
    assert_close(out, expected + (0 if bias is None else bias.double()), terms=1e-3)


def test_every_pair_of_places():
    """Columns 4i to 4i + 3 of row p hold values at the p-th of six pairs of places."""
    pairs = torch.combinations(torch.arange(4))
    for dtype in TYPES:
        weight = torch.zeros(16, 16, 4)
        for row, pair in enumerate(pairs):
            weight[row, :, pair] = torch.arange(1, 17).view(-1, 1) * torch.tensor([1.0, -1.0])
        weight = weight.view(16, 64).to(dtype)
        out = torch.empty(64, 16)
        one = torch.ones(1)
        ops.cutlass_scaled_sparse_mm(out, torch.eye(64).to(dtype), *ops.cutlass_sparse_compress(weight), one, one, None)
        assert torch.equal(out, weight.float().t())


@pytest.mark.parametrize(("capability", "supported"), [(75, False), (80, True), (90, True), (120, True)])
def test_support(capability, supported):
    assert ops.cutlass_sparse_scaled_mm_supported(capability) is supported


def test_nothing_to_do():
    one = torch.ones(1)
    values, places = ops.cutlass_sparse_compress(torch.zeros(16, 32, dtype=INT8))
    ops.cutlass_scaled_sparse_mm(torch.zeros(0, 16), torch.zeros(0, 32, dtype=INT8), values, places, one, one, None)
    assert [part.shape for part in ops.cutlass_sparse_compress(torch.zeros(0, 32, dtype=INT8))] == [(0, 16), (0, 4)]


def zeros(*shape, dtype=INT8):
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 32), "a has a type that is not multiplied, expected int8, float8_e4m3fn, bfloat16 or float16"),
        (zeros(32), r"a has shape \[32\], expected 2 dimensions"),
        (zeros(2, 20), "a has 20 columns, expected a multiple of 8"),
        (zeros(32, 2).t(), "a .*contiguous"),
    ],
)
def test_refusals_to_compress(given, message):
    with pytest.raises(RuntimeError, match=f"cutlass_sparse_compress: {message}"):
        ops.cutlass_sparse_compress(given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": zeros(2, 48)}, "a has 48 columns, expected a multiple of 32"),
        ({"bt_nzs": zeros(16, 16, dtype=FP8)}, "bt_nzs is float8_e4m3fn, expected int8"),
        ({"bt_nzs": zeros(16, 32)}, r"bt_nzs has shape \[16, 32\], expected \[any, 16\]"),
        ({"bt_meta": zeros(16, 4)}, "bt_meta is int8, expected uint8"),
        ({"bt_meta": zeros(16, 2, dtype=torch.uint8)}, r"bt_meta has shape \[16, 2\], expected \[16, 4\]"),
        ({"bt_meta": zeros(65, dtype=torch.uint8)[1:].view(16, 4)}, "bt_meta begins between multiples of 4 bytes"),
        ({"out": torch.zeros(3, 16)}, r"out has shape \[3, 16\], expected \[2, 16\]"),
        ({"a_scales": torch.ones(3)}, r"a_scales has shape \[3\], expected 2 values"),
        ({"bias": torch.zeros(15)}, r"bias has shape \[15\], expected \[16\]"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refusals_to_multiply(changed, message):
    given = {
        "out": torch.zeros(2, 16), "a": zeros(2, 32), "bt_nzs": zeros(16, 16),
        "bt_meta": zeros(16, 4, dtype=torch.uint8), "a_scales": torch.ones(1), "b_scales": torch.ones(1), "bias": None,
    } | changed  # fmt: skip
    with pytest.raises(RuntimeError, match=f"cutlass_scaled_sparse_mm: {message}"):
        ops.cutlass_scaled_sparse_mm(*given.values())
