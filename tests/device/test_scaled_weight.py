"""Weights of 8 bits that the engine multiplies on a GPU by inputs of 8 bits: products, and answers of checkpoints."""

import pytest
import torch

from support.compressed_tensors_writer import COMPRESSED
from support.device_ops import Ops
from support.device_weights import answers
from support.kernel_inputs import randn
from support.quantized_checkpoints import FORMATS, write_quantized
from vllm.kernels import scaled_weight, wna16
from vllm.kernels.marlin import MarlinWeight
from vllm.kernels.op_set import torch_ops
from vllm.kernels.scaled_weight import ScaledWeight, pack_quantized_weight
from vllm.quantization.base import QuantizedWeight

N, K = 272, 256
FP8 = torch.float8_e4m3fn


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(scaled_weight, "_ops", lambda: Ops("_C"))
    monkeypatch.setattr(scaled_weight, "multiplies_float8", lambda device: True)
    monkeypatch.setattr(wna16, "_ops", lambda: Ops("_C"))


def weight(dtype: torch.dtype, blocks: bool = False) -> QuantizedWeight:
    codes = randn((N, K), torch.float32, 0, 3.0).to(FP8)
    if dtype is torch.uint8:
        codes = torch.randint(0, 256, (N, K), generator=torch.Generator().manual_seed(0), dtype=dtype)
    scales = (
        torch.rand((-(-N // 128), K // 128) if blocks else (N, 1), generator=torch.Generator().manual_seed(1)) + 0.1
    )
    scales = scales.repeat_interleave(128, 0)[:N] if blocks else scales
    return QuantizedWeight(codes, scales, None, 8, 128 if blocks else -1)


def packed(w: QuantizedWeight) -> ScaledWeight | None:
    return pack_quantized_weight(w.codes, w.scales, w.zeros, w.permutation, bits=w.bits, group_size=w.group_size)


# How far the roundings of inputs reach: of a part of a row's largest, or of each by 4 bits of significance.
ERRORS = {torch.uint8: 0.012, FP8: 0.03}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("kind", "blocks"), [(torch.uint8, False), (FP8, False), (FP8, True)])
def test_products(kind, blocks, dtype):
    w = weight(kind, blocks)
    x, bias = (
        randn((5, 2 * K), dtype, 1)[:, :K] * torch.tensor([1, 8, 0, 3, 0.01])[:, None].to(dtype),
        randn((N,), dtype, 2),
    )
    made = packed(w)
    assert made.nbytes < N * K + 4 * N + 1
    terms = w.dequantized().double()
    expected = x.double() @ terms.t() + bias.double()
    size = (x.double().square() @ terms.square().t()).sqrt().clamp(min=1e-6)
    for given in (None, torch.empty(5, N, dtype=dtype)):
        out = made.multiply(x, bias, given)
        assert out.dtype == dtype and (given is None or out is given)
        error = (out.double() - expected).abs() - torch.finfo(dtype).eps * expected.abs()
        assert (error / size).clamp(min=0).square().mean().sqrt() < ERRORS[kind]
        assert torch.equal(out[2], bias), "a row of zeros"


def test_weights_that_do_not_multiply_so(monkeypatch):
    w = weight(torch.uint8)
    w.group_size = 128  # one scale a row, but inputs in groups: `--quantization int8`
    assert packed(w) is None
    four, ragged, zeroed, ordered = (weight(torch.uint8) for _ in range(4))
    four.bits, ragged.codes = 4, ragged.codes[:, :-8]
    zeroed.zeros, ordered.permutation = torch.zeros(N, 1).int(), torch.arange(K).int()
    assert not any(map(packed, (four, ragged, zeroed, ordered)))
    uneven = weight(FP8, blocks=True)
    uneven.scales[5, 1] *= 2  # a scale of groups, as rows of one block differ
    assert packed(uneven) is None
    monkeypatch.setattr(scaled_weight, "multiplies_float8", lambda device: False)
    assert packed(weight(FP8)) is None and packed(weight(torch.uint8)) is not None


@pytest.mark.parametrize(("name", "bound"), [("fp8_tensor", 0.06), ("fp8_channel", 0.06), ("w8a8", 0.03)])
def test_checkpoints(name, bound, tmp_path, monkeypatch):
    formats = FORMATS | COMPRESSED
    if name not in formats:
        pytest.skip("compressed-tensors is not installed")
    quantized, _ = write_quantized(tmp_path, formats[name])
    got, kinds = answers(quantized, "scaled_mm", monkeypatch)
    expected, _ = answers(quantized, "", monkeypatch)
    assert kinds.count(ScaledWeight) >= 2
    assert (got - expected).abs().mean() < bound * expected.std()


def test_what_has_groups_is_left_to_marlin():
    pack = torch_ops(frozenset({"scaled_mm", "marlin_gemm"}), torch.bfloat16).pack_quantized_weight
    w = weight(torch.uint8)
    w.codes, w.scales = w.codes[:256], w.scales[:256]
    assert isinstance(w.packed(pack, torch.device("cpu"), gate_up=False), ScaledWeight)
    w.group_size = 128
    assert isinstance(w.packed(pack, torch.device("cpu"), gate_up=False), MarlinWeight)
    w.codes = w.codes[:, :-8]
    assert w.packed(pack, torch.device("cpu"), gate_up=False) is None
