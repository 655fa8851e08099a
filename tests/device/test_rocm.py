"""vllm.kernels.rocm over the emulated kernels: products of a weight and a few rows, attention with partitions."""

import math

import pytest
import torch

from support.attention_case import AttentionCase
from support.device_cases import K_SCALE, V_SCALE, classic_caches
from support.device_ops import Ops, needs_absence
from support.kernel_inputs import assert_close, randn
from vllm.kernels import rocm

HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(rocm, "_ops", lambda: Ops("_rocm_C"))


# One row and more than four; rows of the weight for part of a wave and for several blocks; k below a wave's vectors.
@pytest.mark.parametrize(("n", "m", "k"), [(1, 3, 8), (4, 17, 776), (6, 70, 512)])
@pytest.mark.parametrize("with_bias", [False, True])
@HALVES
def test_wvsplitk(n, m, k, with_bias, dtype):
    weight, x, bias = randn((m, k), dtype, 0), randn((n, k), dtype, 1), randn((m,), dtype, 2)
    out = rocm.wvSplitK(weight, x, 304, bias if with_bias else None)
    assert out.dtype is dtype
    assert_close(out, x.double() @ weight.double().t() + (bias.double() if with_bias else 0), terms=math.sqrt(k))


@HALVES
def test_llmm1(dtype):
    weight, x = randn((20, 264), dtype, 0)[4:], randn((1, 264), dtype, 1)
    assert_close(rocm.LLMM1(weight, x, 4), x.double() @ weight.double().t(), terms=16.0)


@pytest.mark.parametrize(("n", "m", "k"), [(1, 3, 16), (3, 40, 1040)])
@HALVES
def test_wvsplitkq(n, m, k, dtype):
    weight, x = (randn(shape, torch.float32, i).to(torch.float8_e4m3fn) for i, shape in enumerate(((m, k), (n, k))))
    scales, bias = (torch.tensor([0.5]), torch.tensor(0.25)), randn((m,), dtype, 2)
    out = rocm.wvSplitKQ(weight, x, dtype, *scales, 304, bias)
    assert_close(out, x.double() @ weight.double().t() / 8 + bias.double(), terms=math.sqrt(k) / 8)


def run_attention(case, kv_cache_dtype="auto", query_start_loc=None, out_scale=None):
    seqs, longest = len(case.seq_lens), int(case.seq_lens.max())
    # Callers size them for partitions of 256 tokens.
    shape = (seqs, case.heads, max(1, math.ceil(longest / 256)))
    out = torch.full(case.query.shape, math.nan, dtype=case.dtype)
    rocm.paged_attention_rocm(
        out, torch.empty(shape), torch.empty(shape), torch.empty(*shape, case.head_size, dtype=case.dtype), case.query,
        *classic_caches(case, kv_cache_dtype), case.kv_heads, case.scale, case.block_table, case.seq_lens,
        query_start_loc, case.block_size, longest, case.slopes, kv_cache_dtype, K_SCALE, V_SCALE, out_scale,
    )  # fmt: skip
    return out


@HALVES
def test_attention(dtype):
    case = AttentionCase(((530, 1), (3, 1), (512, 1)), dtype, heads=4, kv_heads=1, head_size=32, alibi=True)
    torch.testing.assert_close(run_attention(case).double(), case.expected()[0].double(), rtol=1e-2, atol=1e-2)


def test_attention_leaves_prefills_alone():
    case = AttentionCase(((530, 1), (20, 4), (40, 1), (9, 9)), torch.bfloat16, heads=2, kv_heads=2, head_size=32)
    out = run_attention(case, query_start_loc=case.query_start_loc)
    decoded = torch.tensor([0, 5])
    torch.testing.assert_close(out[decoded].double(), case.expected()[0][decoded], rtol=1e-2, atol=1e-2)
    others = torch.ones(len(out), dtype=torch.bool)
    others[decoded] = False
    assert out[others].isnan().all()


@pytest.mark.parametrize(
    ("weight", "x", "message"),
    [
        (torch.zeros(4, 8), torch.zeros(1, 8), "in_a is float32, expected float16"),
        (torch.zeros(4, 8).half(), torch.zeros(1, 8).bfloat16(), "in_b is bfloat16, expected float16 as in_a is"),
        (torch.zeros(4, 8).half(), torch.zeros(1, 16).half(), r"in_b has shape \[1, 16\], expected \[any, 8\]"),
        (torch.zeros(4, 12).half(), torch.zeros(1, 12).half(), "in_a has rows of 24 bytes, 24 apart, expected multip"),
    ],
    ids=range(4),
)
def test_refusals(weight, x, message):
    with pytest.raises(RuntimeError, match=f"wvSplitK: {message}"):
        rocm.wvSplitK(weight, x, 304)


def test_refusals_of_options():
    weight = torch.zeros(4, 8).half()
    with pytest.raises(RuntimeError, match="LLMM1: in_b has 2 rows, expected at most 1"):
        rocm.LLMM1(weight, weight[:2], 4)
    with pytest.raises(RuntimeError, match="paged_attention: fp8_out_scale"):
        run_attention(AttentionCase(((5, 1),), torch.float16), out_scale=torch.ones(1))


def test_without_the_kernels(monkeypatch):
    monkeypatch.undo()
    needs_absence("_rocm_C")
    with pytest.raises(ImportError, match=r"_rocm_C.abi3.so is not installed; it comes with ROCm builds of vllm"):
        rocm.LLMM1(torch.zeros(4, 8), torch.zeros(1, 8), 4)
