"""Weights of 8 bits that torch multiplies by inputs of 8 bits, as it does on GPUs: here by its ops for the CPU."""

import pytest
import torch

from support.byte_weights import FP8, K, N, byte_weight, check_products
from support.compressed_tensors_writer import COMPRESSED
from support.device_weights import answers
from support.quantized_checkpoints import FORMATS, write_quantized
from vllm.kernels.torch_ops import scaled_weight
from vllm.kernels.torch_ops.scaled_weight import ScaledWeight, pack_quantized_weight
from vllm.partition import WHOLE_LAYER
from vllm.quantization.fp8 import float8_weight

CPU = torch.device("cpu")


@pytest.fixture
def like_a_gpu(monkeypatch):
    monkeypatch.setattr(scaled_weight, "has_product", lambda device, kind, dtype, blocks: True)


def product_of_blocks(a, b, *, scale_a, scale_b, out_dtype):
    """torch._scaled_mm with scales of 1 x 128 inputs and 128 x 128 weights, held to cuBLASLt's layouts."""
    (rows, k), n = a.shape, b.shape[1]
    blocks = k // 128
    assert rows % 4 == 0 and a.is_contiguous() and b.t().is_contiguous() and k % 128 == n % 16 == 0
    assert scale_a.shape == (rows, blocks) and scale_a.stride() == (1, rows)
    assert scale_b.shape == (blocks, -(-n // 128)) and scale_b.stride() == (1, -(-blocks // 4) * 4)
    inputs = a.float() * scale_a.repeat_interleave(128, 1)
    weight = b.float() * scale_b.repeat_interleave(128, 0).repeat_interleave(128, 1)[:, :n]
    return (inputs @ weight).to(out_dtype)


def packed(w, dtype=torch.bfloat16) -> ScaledWeight | None:
    tensors = (w.codes, w.scales, w.zeros, w.permutation)
    return pack_quantized_weight(*tensors, bits=w.bits, group_size=w.group_size, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", [torch.uint8, FP8])
def test_products(like_a_gpu, kind, dtype):
    w = byte_weight(kind)
    check_products(packed(w, dtype), w, dtype)


def test_products_of_blocks(like_a_gpu, monkeypatch):
    monkeypatch.setattr(torch, "_scaled_mm", product_of_blocks)
    w = byte_weight(FP8, blocks=True)
    check_products(packed(w), w, torch.bfloat16)
    read = float8_weight(w.codes, w.scales[::128], [128, 128], "scales", (N, K), WHOLE_LAYER)
    check_products(packed(read), w, torch.bfloat16)


def test_weights_that_do_not_multiply_so(like_a_gpu):
    grouped, ragged = byte_weight(torch.uint8), byte_weight(FP8)
    grouped.group_size, ragged.codes = 128, ragged.codes[:, :-8]
    uneven = byte_weight(FP8, blocks=True)
    uneven.scales[5, 1] *= 2  # rows of one block differ
    assert not any(map(packed, (grouped, ragged, uneven)))


@pytest.mark.parametrize(("name", "bound"), [("fp8_tensor", 0.06), ("fp8_channel", 0.06), ("w8a8", 0.03)])
def test_checkpoints(name, bound, tmp_path, monkeypatch):
    formats = FORMATS | COMPRESSED
    if name not in formats:
        pytest.skip("compressed-tensors is not installed")
    quantized, _ = write_quantized(tmp_path, formats[name])
    expected, dense = answers(quantized, "", monkeypatch)
    assert ScaledWeight not in dense, "the CPU dequantises"
    monkeypatch.setattr(scaled_weight, "has_product", lambda device, kind, dtype, blocks: True)
    got, kinds = answers(quantized, "", monkeypatch)
    assert kinds.count(ScaledWeight) >= 2
    assert (got - expected).abs().mean() < bound * expected.std()


@pytest.fixture
def tried():
    scaled_weight._agrees.cache_clear()
    yield scaled_weight._agrees
    scaled_weight._agrees.cache_clear()


def test_a_product_is_tried(tried, monkeypatch, caplog):
    assert all(tried(CPU, kind, torch.bfloat16) for kind in (torch.int8, FP8)) and not caplog.records
    monkeypatch.setattr(torch, "_scaled_mm", product_of_blocks)
    assert tried(CPU, FP8, torch.bfloat16, True) and not caplog.records
    tried.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: (a.int() @ b.int()) * 2)
    assert not tried(CPU, torch.int8, torch.bfloat16) and not tried(CPU, torch.int8, torch.bfloat16)

    def no_kernel(*arguments, **options):
        raise RuntimeError("torch._scaled_mm is only supported on devices with compute capability >= 9.0.\nMore")

    monkeypatch.setattr(torch, "_scaled_mm", no_kernel)
    assert not tried(CPU, FP8, torch.bfloat16)
    wrong, missing = (record.message for record in caplog.records)
    assert (
        "weights in 8 bits are dequantised: torch's product of torch.int8 does not serve: its result differs" in wrong
    )
    assert "torch.float8_e4m3fn does not serve: torch._scaled_mm is only supported" in missing and "More" not in missing
