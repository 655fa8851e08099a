"""Products with GPTQ, AWQ and Marlin weights against the dequantised weights in f64."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from support.device_ops import Ops
from support.kernel_inputs import RTOL, randn
from vllm import _custom_ops
from vllm.kernels import wna16
from vllm.quantization.bits import unpack_rows
from vllm.scalar_type import ScalarType, scalar_types

ops = Ops("_C")
NONE = torch.empty(0, dtype=torch.int32)
AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)


@dataclass(frozen=True)
class Matrix:
    """``scales * (codes - zeros)``, [k, n]."""

    codes: Tensor  # [k, n]
    scales: Tensor  # [groups, n]
    zeros: Tensor  # [groups, n]
    group_of: Tensor  # [k]
    bits: int

    def dequantized(self):
        return self.scales.double()[self.group_of] * (self.codes.double() - self.zeros.double()[self.group_of])


def random_matrix(k, n, group, bits, dtype=torch.float16, seed=0, least_zero=1):
    generator = torch.Generator().manual_seed(seed)
    groups = k // group
    codes = torch.randint(0, 2**bits, (k, n), generator=generator)
    zeros = torch.randint(least_zero, 2**bits, (groups, n), generator=generator)
    scales = ((torch.rand((groups, n), generator=generator) + 0.1) * k**-0.5 / 2 ** (bits - 1)).to(dtype)
    return Matrix(codes, scales, zeros, torch.arange(k) // group, bits)


def pack_stream(codes, bits):
    """[k, n] to i32 [k * bits / 32, n]: a stream of bits down each column, lowest first."""
    stream = (codes[:, None] >> torch.arange(bits)[:, None] & 1).flatten(0, 1)
    words = (stream.unflatten(0, (-1, 32)) << torch.arange(32)[:, None]).sum(1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def pack_row_stream(codes, bits):
    return pack_stream(codes.t(), bits).t().contiguous()


def pack_interleaved(codes, order=AWQ_COLUMNS, bits=4):
    """[rows, n] to i32 [rows, n * bits / 32]: code i of a word is of its column order[i]."""
    return pack_row_stream(codes.unflatten(1, (-1, len(order)))[:, :, torch.tensor(order)].flatten(1), bits)


def activations(m, k, dtype=torch.float16):
    # Of one sign mostly, so that zeros that are wrong do not cancel.
    return (randn((m, k), torch.float32, m) + 0.5).to(dtype)


def check(out, a, weight):
    """To one rounding of the result, and of each weight where the product was torch's."""
    expected = a.double() @ weight
    size = (a.double().square() @ weight.square()).sqrt()
    error = (out.double() - expected).abs()
    limit = RTOL[out.dtype] * (expected.abs() + 4 * size) + 1e-5
    assert out.dtype is a.dtype and (error <= limit).all(), (error / limit).max()


@pytest.mark.parametrize("bits", [4, 8])
def test_the_tests_pack_as_checkpoints_are_unpacked(bits):
    codes = random_matrix(32, 8, 32, bits).codes
    assert torch.equal(unpack_rows(pack_stream(codes, bits).t(), bits).t().long(), codes)


def gptq(a, w, g_idx=NONE, exllama=False, v2=False, words=None):
    words = pack_stream(w.codes, w.bits) if words is None else words
    zeros = pack_row_stream(w.zeros - (0 if v2 else 1), w.bits)
    return ops.gptq_gemm(a, words, zeros, w.scales, g_idx, exllama, v2, w.bits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("m", "k", "n", "group"), [(1, 160, 64, 32), (17, 256, 96, 128), (3, 1056, 32, 1056)])
def test_gptq(dtype, bits, m, k, n, group):
    w, a = random_matrix(k, n, group, bits, dtype), activations(m, k, dtype)
    check(gptq(a, w), a, w.dequantized())


@pytest.mark.parametrize("m", [40, 200])
def test_gptq_of_more_rows(m):
    w, a = random_matrix(128, 64, 64, 4), activations(m, 128)
    check(gptq(a, w), a, w.dequantized())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_groups_in_any_order(bits):
    w, a = random_matrix(128, 64, 32, bits), activations(5, 128)
    order = torch.randperm(128, generator=torch.Generator().manual_seed(3))
    scattered = replace(w, group_of=w.group_of[order])
    expected = scattered.dequantized()
    check(gptq(a, scattered, scattered.group_of.int()), a, expected)
    # Sorted by group as programs do it for the faster kernel.
    by_group = scattered.group_of.argsort(stable=True).int()
    words = pack_stream(w.codes, bits)
    ops.gptq_shuffle(words, by_group, bits)
    assert torch.equal(words, pack_stream(w.codes[by_group.long()], bits))
    check(gptq(a, w, by_group, exllama=True, words=words), a, expected)


def test_gptq_versions_and_groups_that_no_tile_fits():
    w, a = random_matrix(96, 32, 48, 4, least_zero=0), activations(2, 96)
    check(gptq(a, w, v2=True), a, w.dequantized())
    words = pack_stream(w.codes, 4)
    before = words.clone()
    ops.gptq_shuffle(words, NONE, 4)
    assert torch.equal(words, before)


def awq_tensors(w):
    return pack_interleaved(w.codes), w.scales, pack_interleaved(w.zeros)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("m", "k", "n", "group"), [(1, 160, 64, 32), (17, 256, 72, 128), (100, 128, 64, 64)])
def test_awq(dtype, m, k, n, group):
    w, a = random_matrix(k, n, group, 4, dtype), activations(m, k, dtype)
    check(ops.awq_gemm(a, *awq_tensors(w), 8), a, w.dequantized())
    dequantized = ops.awq_dequantize(*awq_tensors(w), 0, 0, 0)
    assert torch.equal(dequantized, w.dequantized().float().to(dtype))


# Marlin's order of columns, as the programs that call its ops apply it to scales, zeros and biases.
GROUPED = [i + 8 * j for i in range(8) for j in range(8)]
SINGLE = [2 * i + j for i in range(4) for j in (0, 1, 8, 9, 16, 17, 24, 25)]
INTEGERS = ("uint4", "uint4b8", "uint8", "uint8b128")


def in_order(values, order):
    return values.unflatten(-1, (-1, len(order)))[..., torch.tensor(order)].flatten(-2).contiguous()


def marlin(a, words, scales, b_q_type, *, zeros=None, bias=None, g_idx=None, perm=None, full=True, out=None):
    k, n = a.shape[1], scales.shape[1]
    scales = in_order(scales, GROUPED if len(scales) > 1 else SINGLE)
    bias = None if bias is None else in_order(bias, SINGLE)
    rest = (NONE, b_q_type.id, len(a), n, k, full, False, True, False)
    return ops.marlin_gemm(a, out, words, bias, scales, None, None, zeros, g_idx, perm, *rest)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(("m", "group"), [(4, 64), (20, 192), (150, 64)])
def test_marlin(name, m, group):
    b_q_type = getattr(scalar_types, name)
    bits, bias = b_q_type.size_bits, b_q_type.bias
    w, a = random_matrix(192, 128, group, bits, torch.bfloat16), activations(m, 192, torch.bfloat16)
    zeros = None
    if bias:
        w = replace(w, zeros=torch.full_like(w.zeros, bias))
        words = ops.gptq_marlin_repack(pack_stream(w.codes, bits), NONE, 192, 128, bits, False)
    else:
        order = AWQ_COLUMNS if bits == 4 else (0, 2, 1, 3)
        words = ops.awq_marlin_repack(pack_interleaved(w.codes, order, bits), 192, 128, bits, False)
        zeros = pack_interleaved(in_order(w.zeros, GROUPED), order, bits)
    assert words.shape == (192 // 16, 128 * bits // 2)
    added = randn((128,), torch.bfloat16, 9)
    out = marlin(a, words, w.scales, b_q_type, zeros=zeros, bias=added)
    check(out, *with_bias(a, w.dequantized(), added))


def with_bias(a, weight, bias):
    """The same sum with one more row."""
    return torch.cat((a, torch.ones_like(a[:, :1])), 1), torch.cat((weight, bias.double()[None]))


@pytest.mark.parametrize("full", [True, False])
def test_marlin_groups_in_any_order(full):
    w, a = random_matrix(128, 64, 32, 4), activations(3, 128)
    w = replace(w, zeros=torch.full_like(w.zeros, 8))
    # Of a part of a matrix, groups need not have equal numbers of rows.
    group_of = w.group_of if full else torch.tensor([0] * 50 + [1] * 10 + [3] * 68)
    order = torch.randperm(128, generator=torch.Generator().manual_seed(3))
    scattered = replace(w, group_of=group_of[order])
    perm = scattered.group_of.argsort(stable=True).int()
    words = ops.gptq_marlin_repack(pack_stream(w.codes, 4), perm, 128, 64, 4, False)
    g_idx, out = group_of.int(), torch.empty(3, 64, dtype=torch.float16)
    given = marlin(a, words, w.scales, scalar_types.uint4b8, g_idx=g_idx, perm=perm, full=full, out=out)
    assert given.data_ptr() == out.data_ptr()
    check(out, a, scattered.dequantized())


@pytest.mark.parametrize(("dtype", "folded"), [(torch.bfloat16, 120), (torch.float16, 8)])
@pytest.mark.parametrize("groups", [1, 2])
def test_marlin_of_8_bit_floats(dtype, folded, groups):
    stored = randn((128, 64), torch.float32, 0).to(torch.float8_e4m3fn)
    scales = (torch.rand(groups, 64) * 0.1 + 0.01).to(dtype)
    words = ops.gptq_marlin_repack(pack_stream(stored.view(torch.uint8).long(), 8), NONE, 128, 64, 8, False)
    a = activations(6, 128, dtype)
    out = marlin(a, words, scales * 2.0**folded, scalar_types.float8_e4m3fn)
    check(out, a, stored.double() * scales.double().repeat_interleave(128 // groups, 0))


def test_upstreams_functions(monkeypatch):
    if not hasattr(torch.ops._C, "marlin_gemm"):
        with pytest.raises(ImportError, match="on the CPU only: conda install"):
            _custom_ops.gptq_shuffle(NONE, NONE, 4)
    monkeypatch.setattr(wna16, "_ops", lambda: ops)
    w, a = random_matrix(64, 64, 32, 4), activations(2, 64)
    words, zeros = pack_stream(w.codes, 4), pack_row_stream(w.zeros - 1, 4)
    by_gptq = _custom_ops.gptq_gemm(a, words, zeros, w.scales, NONE, False, False, 4)
    by_awq = _custom_ops.awq_gemm(a, *awq_tensors(w), 8)
    weight = _custom_ops.awq_dequantize(*awq_tensors(w), 0, 0, 0)
    packed = pack_interleaved(in_order(w.zeros, GROUPED))
    by_marlin = [
        _custom_ops.marlin_gemm(
            a, None, repacked, None, in_order(w.scales, GROUPED), None, None, packed, None, None, NONE,
            scalar_types.uint4, 2, 64, 64,
        )
        for repacked in (
            _custom_ops.gptq_marlin_repack(words, NONE, 64, 64, 4),
            _custom_ops.awq_marlin_repack(awq_tensors(w)[0], 64, 64, 4),
        )
    ]  # fmt: skip
    for out in (by_gptq, by_awq, *by_marlin):
        check(out, a, w.dequantized())
    assert torch.equal(weight, w.dequantized().half())


def test_refusals():
    w, a = random_matrix(64, 64, 32, 4), activations(2, 64)
    words = pack_stream(w.codes, 4)
    with pytest.raises(RuntimeError, match="gptq_gemm: weights have 5 bits, expected 2, 3, 4 or 8"):
        gptq(a, replace(w, bits=5), words=words)
    with pytest.raises(RuntimeError, match="a is float32, expected float16"):
        gptq(a.float(), w)
    with pytest.raises(RuntimeError, match="awq_gemm: _zeros has shape"):
        ops.awq_gemm(a, *awq_tensors(w)[:2], awq_tensors(w)[2][:1], 8)
    repacked = ops.gptq_marlin_repack(words, NONE, 64, 64, 4, False)
    with pytest.raises(RuntimeError, match="b_zeros is missing; uint4 and uint8 need it"):
        marlin(a, repacked, w.scales, scalar_types.uint4)
    with pytest.raises(RuntimeError, match=r"b_type_id is \d+, expected that of uint4"):
        marlin(a, repacked, w.scales, ScalarType(0, 4, False, 7))
    with pytest.raises(RuntimeError, match="size_k and size_n are 64 and 32, expected multiples of 32 and of 64"):
        ops.gptq_marlin_repack(words, NONE, 64, 32, 4, False)
