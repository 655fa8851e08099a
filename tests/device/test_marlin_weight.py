"""Weights that the engine keeps as codes on a GPU: products of every kind of them, and answers of whole checkpoints."""

import pytest
import torch

from support.device_ops import Ops
from support.device_weights import answers
from support.kernel_inputs import randn
from support.quantized_checkpoints import FORMATS, write_quantized
from support.tiny_model import write_tiny_model
from vllm.kernels import wna16
from vllm.kernels.marlin import MarlinWeight, pack_quantized_weight
from vllm.quantization.base import QuantizedWeight

N, K, GROUP = 128, 192, 64
# Whole models take seconds each; test_products has waves of both sizes.
one_wave = pytest.mark.parametrize("device", [(32, "reverse")], ids=["wave32"], indirect=True)


@pytest.fixture(autouse=True)
def marlin(monkeypatch):
    monkeypatch.setattr(wna16, "_ops", lambda: Ops("_C"))


def weight(bits: int, groups: int = K // GROUP, zeros: bool = False, permuted: bool = False) -> QuantizedWeight:
    generator = torch.Generator().manual_seed(bits)
    return QuantizedWeight(
        torch.randint(0, 2**bits, (N, K), generator=generator, dtype=torch.uint8),
        (torch.rand(N, groups, generator=generator) + 0.1) / 2**bits,
        torch.randint(0, 2**bits, (N, groups), generator=generator, dtype=torch.int32) if zeros else None,
        bits,
        GROUP if groups > 1 else -1,
        torch.randperm(K, generator=generator).int() if permuted else None,
    )


def packed(w: QuantizedWeight, dtype: torch.dtype = torch.bfloat16) -> MarlinWeight | None:
    tensors = (w.codes, w.scales, w.zeros, w.permutation)
    return pack_quantized_weight(*tensors, bits=w.bits, group_size=w.group_size, dtype=dtype)


def check(made: MarlinWeight, w: QuantizedWeight, times: float = 1.0) -> None:
    dtype = made.dtype
    assert made.nbytes < N * K * w.bits // 8 + 1600
    x, bias = randn((5, K), dtype, 1) * times, randn((N,), dtype, 2)
    expected = x.double() @ w.dequantized().double().t() + bias.double()
    size = (x.double().square() @ w.dequantized().double().square().t()).sqrt()
    error = (made.multiply(x, bias).double() - expected).abs()
    assert (error <= 2 * torch.finfo(dtype).eps * (expected.abs() + size)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("permuted", [False, True], ids=["", "permuted"])
@pytest.mark.parametrize("zeros", [False, True], ids=["", "zeros"])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("bits", [4, 8])
def test_products(bits, groups, zeros, permuted, dtype):
    w = weight(bits, groups, zeros, permuted)
    w.scales = w.scales.to(dtype).float()
    check(packed(w, dtype), w)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("groups", [1, 3])
def test_products_of_8_bit_floats(groups, dtype):
    w = weight(8, groups)
    w.codes, w.scales = randn((N, K), torch.float32, 3).to(torch.float8_e4m3fn), w.scales.to(dtype).float()
    check(packed(w, dtype), w)
    w.scales *= 2.0**-9  # where f16 has few of its bits
    check(packed(w, dtype), w, times=2.0**9)
    w.scales[1, 0] = 300.0  # as large as neither type has it with what is folded in
    assert packed(w, dtype) is None


@pytest.mark.parametrize("rows", [N - 32, N - 1])
def test_weights_that_the_kernel_does_not_have(rows):
    assert packed(weight(4), torch.float32) is None
    w = weight(4)
    w.codes, w.scales = w.codes[:rows], w.scales[:rows]
    assert packed(w) is None
    ragged = weight(8)
    ragged.codes = ragged.codes[:, :-32]
    assert packed(ragged) is None
    beyond = weight(4, zeros=True)
    beyond.zeros[3, 1] = 16  # as GPTQ checkpoints of the first version can say
    assert packed(beyond) is None


@one_wave
@pytest.mark.parametrize("name", FORMATS)
def test_checkpoints(name, tmp_path, monkeypatch):
    quantized, _ = write_quantized(tmp_path, FORMATS[name])
    got, codes = answers(quantized, "marlin_gemm", monkeypatch)
    expected, none = answers(quantized, "", monkeypatch)
    assert codes.count(MarlinWeight) >= 2 and MarlinWeight not in none
    assert (got - expected).abs().mean() < 0.02 * expected.std()


@one_wave
@pytest.mark.parametrize("quantization", ["int4", "int8"])
def test_weights_quantised_while_they_are_loaded(quantization, tmp_path, monkeypatch):
    folder = write_tiny_model(tmp_path)
    got, codes = answers(folder, "marlin_gemm", monkeypatch, quantization=quantization)
    expected, _ = answers(folder, "", monkeypatch, quantization=quantization)
    assert codes.count(MarlinWeight) >= 2
    assert (got - expected).abs().mean() < 0.02 * expected.std()
