"""vllm.deep_gemm over the emulated kernels: one matrix, experts in one matrix, experts in matrices of their own."""

import pytest
import torch

from support.device_cases import scale_blocks
from support.device_ops import Ops, needs_absence
from support.kernel_inputs import assert_close, randn
from vllm import deep_gemm
from vllm.deep_gemm import gemm

ALIGNMENT = deep_gemm.get_mk_alignment_for_contiguous_layout()


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(gemm, "_ops", lambda: Ops("_deepgemm_C"))


def rows(m, k, seed, groups=1):
    """`groups` matrices of e4m3, their scales, and their values in f64."""
    pairs = [deep_gemm.per_token_cast_to_fp8(randn((m, k), torch.bfloat16, seed + i), False) for i in range(groups)]
    q, scales = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return q, scales, scale_blocks(q, scales, 1)


def experts(count, n, k, seed):
    pairs = [deep_gemm.per_block_cast_to_fp8(randn((n, k), torch.bfloat16, seed + i), True) for i in range(count)]
    q, scales = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return (q, scales), scale_blocks(q, scales, 128)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 24, 128), (33, 136, 272), (80, 40, 144)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_one_matrix(m, n, k, dtype):
    q, scales, values = (x[0] for x in rows(m, k, 0))
    (w, w_scales), w_values = experts(1, n, k, 5)
    d = torch.full((m, n), 7.0, dtype=dtype)
    deep_gemm.fp8_gemm_nt((q, deep_gemm.get_mn_major_tma_aligned_tensor(scales)), (w[0], w_scales[0]), d)
    product = values @ w_values[0].t()
    assert_close(d, product, terms=1.0)
    deep_gemm.fp8_gemm_nt((q, scales), (w[0], w_scales[0]), d, c=d, recipe=(1, 128, 128))
    assert_close(d, 2 * product, terms=2.0)


def test_experts_in_one_matrix():
    """The second expert has no rows; a block of padding is left alone."""
    n, k, m = 72, 144, 3 * ALIGNMENT + 16
    q, scales, values = (x[0] for x in rows(m, k, 0))
    weight, w_values = experts(3, n, k, 5)
    indices = torch.full((m,), 2, dtype=torch.int32)
    indices[:ALIGNMENT], indices[ALIGNMENT : 2 * ALIGNMENT], indices[2 * ALIGNMENT - 9 : 2 * ALIGNMENT] = 0, -1, -1
    d = torch.full((m, n), 7.0, dtype=torch.bfloat16)
    deep_gemm.m_grouped_fp8_gemm_nt_contiguous((q, scales), weight, d, indices)
    expected = torch.stack([v @ w_values[max(i, 0)].t() for v, i in zip(values, indices.tolist(), strict=True)])
    expected[indices < 0] = 7.0
    assert_close(d, expected, terms=1.0)


@pytest.mark.parametrize("expected_m", [1, 40, 200])
def test_experts_in_matrices_of_their_own(expected_m):
    count, m, n, k = 3, 70, 24, 144
    q, scales, values = rows(m, k, 0, count)
    weight, w_values = experts(count, n, k, 5)
    masked_m = torch.tensor([5, 0, 70], dtype=torch.int32)
    d = torch.full((count, m, n), 7.0, dtype=torch.bfloat16)
    deep_gemm.m_grouped_fp8_gemm_nt_masked((q, scales), weight, d, masked_m, expected_m)
    expected = values @ w_values.transpose(1, 2)
    for e, held in enumerate(masked_m.tolist()):
        expected[e, held:] = 7.0
    assert_close(d, expected, terms=1.0)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 24, 8), (33, 80, 208), (80, 40, 136)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_one_matrix_of_bf16(m, n, k, dtype):
    a, b, c = randn((m, k), torch.bfloat16, 0), randn((n, k), torch.bfloat16, 1), randn((m, n), dtype, 2)
    d = torch.full((m, n), 7.0, dtype=dtype)
    product = a.double() @ b.double().t()
    deep_gemm.bf16_gemm_nt(a, b, d)
    assert_close(d, product, terms=1.0)
    deep_gemm.bf16_gemm_nt(a, b, d, c)
    assert_close(d, product + c.double(), terms=1.0)


def test_experts_of_bf16():
    count, m, n, k = 2, 20, 24, 40
    a, b = randn((count, m, k), torch.bfloat16, 0), randn((count, n, k), torch.bfloat16, 1)
    d = torch.full((count, m, n), 7.0, dtype=torch.bfloat16)
    deep_gemm.m_grouped_bf16_gemm_nt_masked(a, b, d, torch.tensor([m, 3], dtype=torch.int32), 8)
    expected = a.double() @ b.double().transpose(1, 2)
    expected[1, 3:] = 7.0
    assert_close(d, expected, terms=1.0)
    one = torch.cat([a[0], a[0].new_zeros(ALIGNMENT - m, k), a[1]])
    d = torch.zeros(len(one), n, dtype=torch.bfloat16)
    indices = torch.tensor([1] * ALIGNMENT + [0] * m, dtype=torch.int32)
    deep_gemm.m_grouped_bf16_gemm_nt_contiguous(one, b, d, indices)
    expected = torch.cat([one[:ALIGNMENT].double() @ b[1].double().t(), a[1].double() @ b[0].double().t()])
    assert_close(d, expected, terms=1.0)


def test_layouts():
    assert (deep_gemm.get_tma_aligned_size(5, 4), deep_gemm.get_tma_aligned_size(8, 2)) == (8, 8)
    x = torch.randn(2, 5, 3)
    y = deep_gemm.get_mn_major_tma_aligned_tensor(x)
    assert torch.equal(y, x) and y.stride() == (24, 1, 8)
    assert deep_gemm.get_mn_major_tma_aligned_tensor(y) is y


@pytest.mark.parametrize("use_ue8m0", [False, True])
def test_casts(use_ue8m0):
    x = randn((130, 200), torch.bfloat16, 3, 40.0)
    x[0] = 0
    for cast, size in ((deep_gemm.per_token_cast_to_fp8, 1), (deep_gemm.per_block_cast_to_fp8, 128)):
        q, scales = cast(x, use_ue8m0)
        assert scales.shape == (-(-130 // size), 2)
        if use_ue8m0:
            assert torch.equal(scales.log2(), scales.log2().round())
        # Half a unit in the last place of 3 bits, or of the smallest e4m3.
        error = (scale_blocks(q, scales, size) - x.double()).abs()
        step = scale_blocks(torch.ones_like(x), scales, size) * 2.0**-10
        assert (error <= x.double().abs() / 16 * 1.001 + step).all()


def test_powers_of_two():
    x = torch.tensor([1.0, 1.1, 0.25, 0.3, 448.0])
    assert deep_gemm.ceil_to_ue8m0(x).tolist() == [1.0, 2.0, 0.25, 0.5, 512.0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": torch.zeros(2, 128)}, "a is float32, expected float8_e4m3fn"),
        ({"a_scales": torch.ones(2, 2)}, r"a_scales has shape \[2, 2\], expected \[2, 1\]: one for each 1 x 128 of a"),
        (
            {"b_scales": torch.ones(2, 1)},
            r"b_scales has shape \[2, 1\], expected \[1, 1\]: one for each 128 x 128 of b",
        ),
        ({"d": torch.zeros(2, 8, dtype=torch.float16)}, "d is float16, expected bfloat16"),
        ({"d": torch.zeros(3, 8)}, r"d has shape \[3, 8\], expected \[2, 8\]"),
        ({"c": torch.zeros(2, 8).bfloat16()}, "c is bfloat16, expected float32 as d is"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refusals(changed, message):
    fp8 = torch.float8_e4m3fn
    given = {
        "a": torch.zeros(2, 128, dtype=fp8), "a_scales": torch.ones(2, 1), "b": torch.zeros(8, 128, dtype=fp8),
        "b_scales": torch.ones(1, 1), "d": torch.zeros(2, 8), "c": None,
    } | changed  # fmt: skip
    with pytest.raises(RuntimeError, match=f"fp8_gemm_nt: {message}"):
        deep_gemm.fp8_gemm_nt((given["a"], given["a_scales"]), (given["b"], given["b_scales"]), given["d"], given["c"])


def test_refusals_of_groups_and_recipes():
    fp8 = torch.float8_e4m3fn
    a, b = (torch.zeros(8, 128, dtype=fp8), torch.ones(8, 1)), (torch.zeros(2, 8, 128, dtype=fp8), torch.ones(2, 1, 1))
    with pytest.raises(RuntimeError, match=r"m_indices has shape \[7\], expected 8 values"):
        deep_gemm.m_grouped_fp8_gemm_nt_contiguous(a, b, torch.zeros(8, 8), torch.zeros(7, dtype=torch.int32))
    with pytest.raises(RuntimeError, match=r"a has shape .* expected 3 dimensions"):
        deep_gemm.m_grouped_fp8_gemm_nt_masked(a, b, torch.zeros(8, 8), torch.zeros(2, dtype=torch.int32), 4)
    with pytest.raises(RuntimeError, match="bf16_gemm_nt: a is float8_e4m3fn, expected bfloat16"):
        deep_gemm.bf16_gemm_nt(a[0], a[0], torch.zeros(8, 8))
    with pytest.raises(ValueError, match=r"recipe is \(1, 1, 128\), expected \(1, 128, 128\)"):
        deep_gemm.fp8_gemm_nt(a, a, torch.zeros(8, 8), recipe=(1, 1, 128))


def test_without_the_package(monkeypatch):
    monkeypatch.undo()
    needs_absence("_deepgemm_C")
    with pytest.raises(ImportError, match=r"_deepgemm_C.abi3.so is not installed; .* conda install vllm-deepgemm"):
        deep_gemm.fp8_gemm_nt((torch.zeros(1, 16),) * 2, (torch.zeros(1, 16),) * 2, torch.zeros(1, 1))
