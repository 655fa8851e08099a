"""vLLM's Python functions over ops that only GPUs have: what they allocate, return and refuse."""

import pytest
import torch

from support import kernel_reference as reference
from support.device_cases import assert_quantized
from support.device_ops import Ops
from support.kernel_inputs import RTOL, assert_close, randn
from vllm import _custom_ops, kernels
from vllm.kernels import fused_quant, latent_cache, moe

ops, cache_ops = Ops("_C"), Ops("_C_cache_ops")
WEIGHT = randn((256,), torch.bfloat16, 1)
ROUNDED = 2 * RTOL[torch.bfloat16]  # of norms: what is quantised is in the input's type


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(fused_quant, "_ops", lambda: ops)
    monkeypatch.setattr(latent_cache, "_ops", lambda: cache_ops)
    monkeypatch.setattr(moe, "_ops", lambda: Ops("_moe_C"))


def assert_dequantised(out, scales, expected, group, rounding):
    groups = expected.unflatten(-1, (-1, group))
    assert_quantized(out.unflatten(-1, (-1, group)), scales.unsqueeze(-1), groups, rounding)


@pytest.mark.parametrize("q", [torch.float8_e4m3fn, torch.int8])
def test_norm_with_a_scale_a_row(emulated, q):
    x, residual = randn((2, 5, 256), torch.bfloat16, 0)
    expected = reference.rms_norm(x + residual, WEIGHT, 1e-6)
    out, scales = _custom_ops.rms_norm_dynamic_per_token_quant(x, WEIGHT, 1e-6, q, residual=residual)
    assert (out.dtype, out.shape, scales.shape) == (q, x.shape, (5, 1))
    assert_dequantised(out, scales, expected, 256, ROUNDED)
    upper = torch.tensor([1.0])
    if q is not torch.int8:
        _, cut = _custom_ops.rms_norm_dynamic_per_token_quant(x, WEIGHT, 1e-6, q, upper)
        assert_close(cut, (upper / 448).expand(5, 1))


@pytest.mark.parametrize("transposed", [False, True])
def test_scales_of_groups(emulated, transposed):
    x = randn((6, 256), torch.bfloat16, 0)
    out, scales = _custom_ops.rms_norm_per_block_quant(
        x, WEIGHT, 1e-6, torch.int8, [1, 64], is_scale_transposed=transposed
    )
    assert (scales.shape, scales.stride()) == ((6, 4), (1, 6) if transposed else (4, 1))
    assert_dequantised(out, scales, reference.rms_norm(x, WEIGHT, 1e-6), 64, ROUNDED)
    out, scales = _custom_ops.silu_and_mul_per_block_quant(x, 32, torch.int8, None, transposed)
    assert (out.shape, scales.shape) == ((6, 128), (6, 4))
    assert scales.stride() == ((1, 6) if transposed else (4, 1))
    assert_dequantised(out, scales, reference.gated(torch.nn.functional.silu)(x), 32, 1e-5)


def test_scales_of_groups_apart(emulated):
    x = randn((6, 256), torch.bfloat16, 0)
    _, expected = _custom_ops.rms_norm_per_block_quant(x, WEIGHT, 1e-6, torch.int8, [1, 64])
    _, scales = _custom_ops.rms_norm_per_block_quant(x, WEIGHT, 1e-6, torch.int8, [1, 64], None, None, True, 4)
    assert (scales.shape, scales.stride()) == ((6, 4), (1, 8))
    assert torch.equal(scales, expected)


def test_groups_that_do_not_fit_are_refused(emulated):
    x = randn((6, 256), torch.bfloat16, 0)
    with pytest.raises(ValueError, match=r"group_size=\[128, 128\] is not accepted: give \[1, columns\]"):
        _custom_ops.rms_norm_per_block_quant(x, WEIGHT, 1e-6, torch.int8, [128, 128])
    with pytest.raises(ValueError, match="group_size 48 is not accepted: give one that divides the 128 columns"):
        _custom_ops.silu_and_mul_per_block_quant(x, 48, torch.int8)


def test_caches_of_latents(emulated):
    latent, pe = randn((3, 16), torch.bfloat16, 0), randn((3, 8), torch.bfloat16, 1)
    cache, one = torch.zeros(2, 4, 24, dtype=torch.bfloat16), torch.ones(1)
    _custom_ops.concat_and_cache_mla(latent, pe, cache, torch.arange(3) + 4, "auto", one)
    rows = torch.cat((latent, pe), -1)
    table, starts = torch.tensor([[1]], dtype=torch.int32), torch.tensor([0, 3], dtype=torch.int32)
    copied, read = torch.zeros(2, 3, 24, dtype=torch.bfloat16)
    _custom_ops.cp_gather_cache(cache, copied, table, starts, 1)
    seq_of = torch.zeros(3, dtype=torch.int32)
    _custom_ops.gather_and_maybe_dequant_cache(cache, read, table, starts, seq_of, 3, "auto", one)
    assert torch.equal(copied, rows)
    assert torch.equal(read, rows)
    codes, again = torch.zeros(3, 24, dtype=torch.uint8), torch.zeros(3, 24, dtype=torch.bfloat16)
    _custom_ops.convert_fp8(codes, rows)
    _custom_ops.convert_fp8(again, codes)
    assert torch.equal(again, rows.to(torch.float8_e4m3fn).bfloat16())


def test_weights_of_experts_that_sum_to_one(emulated):
    gating = randn((4, 8), torch.float32, 0)
    weights, ids, rows = torch.empty(4, 2), *torch.empty(2, 4, 2, dtype=torch.int32)
    _custom_ops.topk_softmax(weights, ids, rows, gating, renormalize=True)
    assert_close(weights, gating.double().topk(2).values.softmax(-1))


def test_builds_without_them_say_so():
    kernels.load()
    if hasattr(torch.ops._C_cache_ops, "convert_fp8"):
        pytest.skip("this build of vllm has these ops")
    x = torch.zeros(2, 256)
    with pytest.raises(ImportError, match=r"fuses no quantisation .*: conda install"):
        _custom_ops.rms_norm_dynamic_per_token_quant(x, x[0], 1e-6, torch.int8)
    with pytest.raises(ImportError, match="neither gathers nor converts caches: conda install"):
        _custom_ops.convert_fp8(x, x)
    with pytest.raises(AttributeError, match=r"vllm\._custom_ops has no 'fused_qk_norm_rope'"):
        _ = _custom_ops.fused_qk_norm_rope
