"""Weights of 8 bits that the engine multiplies on a GPU by inputs of 8 bits: products, and answers of checkpoints."""

import pytest
import torch

from support.byte_weights import FP8, K, N, byte_weight, check_products
from support.compressed_tensors_writer import COMPRESSED
from support.device_ops import Ops
from support.device_weights import answers
from support.quantized_checkpoints import FORMATS, write_quantized
from vllm.kernels import scaled_weight, wna16
from vllm.kernels.marlin import MarlinWeight
from vllm.kernels.op_set import torch_ops
from vllm.kernels.scaled_weight import ScaledWeight, pack_quantized_weight
from vllm.quantization.base import QuantizedWeight


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(scaled_weight, "_ops", lambda: Ops("_C"))
    monkeypatch.setattr(scaled_weight, "multiplies_float8", lambda device: True)
    monkeypatch.setattr(wna16, "_ops", lambda: Ops("_C"))


def packed(w: QuantizedWeight) -> ScaledWeight | None:
    return pack_quantized_weight(w.codes, w.scales, w.zeros, w.permutation, bits=w.bits, group_size=w.group_size)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("kind", "blocks"), [(torch.uint8, False), (FP8, False), (FP8, True)])
def test_products(kind, blocks, dtype):
    w = byte_weight(kind, blocks)
    check_products(packed(w), w, dtype)


def test_weights_that_do_not_multiply_so(monkeypatch):
    w = byte_weight(torch.uint8)
    w.group_size = 128  # one scale a row, but inputs in groups: `--quantization int8`
    assert packed(w) is None
    four, ragged, zeroed, ordered = (byte_weight(torch.uint8) for _ in range(4))
    four.bits, ragged.codes = 4, ragged.codes[:, :-8]
    zeroed.zeros, ordered.permutation = torch.zeros(N, 1).int(), torch.arange(K).int()
    assert not any(map(packed, (four, ragged, zeroed, ordered)))
    uneven = byte_weight(FP8, blocks=True)
    uneven.scales[5, 1] *= 2  # a scale of groups, as rows of one block differ
    assert packed(uneven) is None
    monkeypatch.setattr(scaled_weight, "multiplies_float8", lambda device: False)
    assert packed(byte_weight(FP8)) is None and packed(byte_weight(torch.uint8)) is not None


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
    w = byte_weight(torch.uint8)
    w.codes, w.scales = w.codes[:256], w.scales[:256]
    assert isinstance(w.packed(pack, torch.device("cpu"), gate_up=False), ScaledWeight)
    w.group_size = 128
    assert isinstance(w.packed(pack, torch.device("cpu"), gate_up=False), MarlinWeight)
    w.codes = w.codes[:, :-8]
    assert w.packed(pack, torch.device("cpu"), gate_up=False) is None
