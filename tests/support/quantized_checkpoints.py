"""Writes the tiny model as quantised checkpoints, packed as each format's description says, and what they stand for.

A format is a function from a layer's weight f32 [n, k] to (its stored tensors by suffix, its dequantised weight f32).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from support.tiny_model import write_tiny_model

Stored = tuple[dict[str, Tensor], Tensor]
GROUP = 32


@dataclass
class Format:
    """`store(weight, order)`: `order` permutes columns, the same for layers that share their input."""

    config: dict[str, Any]
    store: Callable[[Tensor, Tensor], Stored]
    exact: bool = False  # the model computes as with the dequantised weights
    options: dict[str, Any] = field(default_factory=dict)


def pack_words(codes: Tensor, bits: int) -> Tensor:
    """i64 [words * 32 / bits, ...] to i32 [words, ...]: the first code of a word in its lowest bits."""
    count = 32 // bits
    words = torch.zeros(codes.shape[0] // count, *codes.shape[1:], dtype=torch.int64)
    for i in range(count):
        words |= codes[i::count].long() << (bits * i)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def round_to_codes(weight: Tensor, bits: int, group: int, symmetric: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [n, k], scales (of f16) and zeros [n, groups]."""
    parts = weight.unflatten(1, (-1, group))
    if symmetric:
        scales = parts.abs().amax(2) / (2 ** (bits - 1) - 1)
        zeros = torch.full_like(scales, 2 ** (bits - 1))
    else:
        low, high = parts.amin(2), parts.amax(2)
        scales = (high - low) / (2**bits - 1)
        zeros = (-low / scales).round().clamp(1, 2**bits - 1)
    scales = scales.half().float()
    codes = (parts / scales.unsqueeze(2)).round().add(zeros.unsqueeze(2)).clamp(0, 2**bits - 1)
    return codes.flatten(1), scales, zeros


def dequantized(codes: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    group = codes.shape[1] // scales.shape[1]
    return (codes - zeros.repeat_interleave(group, 1)) * scales.repeat_interleave(group, 1)


def gptq(
    bits: int, symmetric: bool = True, act_order: str = "", version: int = 1, group: int = GROUP
) -> Callable[[Tensor, Tensor], Stored]:
    def store(weight: Tensor, order: Tensor) -> Stored:
        n, k = weight.shape
        if act_order == "own":
            order = torch.randperm(k, generator=torch.Generator().manual_seed(n + int(weight.abs().sum() * 100)))
        order = order if act_order else torch.arange(k)
        codes, scales, zeros = round_to_codes(weight[:, order], bits, group, symmetric)
        group_of = torch.empty(k, dtype=torch.int32)
        group_of[order] = torch.arange(k, dtype=torch.int32) // group
        original = torch.empty_like(codes)
        original[:, order] = codes
        reference = torch.empty_like(weight)
        reference[:, order] = dequantized(codes, scales, zeros)
        tensors = {
            "qweight": pack_words(original.t(), bits),
            "qzeros": pack_words(zeros - int(version == 1), bits).t().contiguous(),
            "scales": scales.t().contiguous().half(),
            "g_idx": group_of,
        }
        if version == 1:  # AutoGPTQ's, which gives every layer a bias
            tensors["bias"] = torch.zeros(n, dtype=torch.float16)
        return tensors, reference

    return store


def awq(weight: Tensor, order: Tensor) -> Stored:
    codes, scales, zeros = round_to_codes(weight, 4, GROUP, symmetric=False)
    columns = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])

    def pack(rows: Tensor) -> Tensor:
        """[n, m] to [m, n / 8]."""
        return pack_words(rows.unflatten(0, (-1, 8))[:, columns].flatten(0, 1), 4).t().contiguous()

    tensors = {"qweight": pack(codes), "qzeros": pack(zeros), "scales": scales.t().contiguous().half()}
    return tensors, dequantized(codes, scales, zeros)


def fp8(kind: str) -> Callable[[Tensor, Tensor], Stored]:
    def store(weight: Tensor, order: Tensor) -> Stored:
        n, k = weight.shape
        blocks = {"tensor": (n, k), "channel": (1, k), "block": (48, 32)}[kind]
        bounds = torch.nn.functional.max_pool2d(weight.abs()[None, None], blocks, blocks, ceil_mode=True)[0, 0]
        scales = bounds / 448
        spread = scales.repeat_interleave(blocks[0], 0)[:n].repeat_interleave(blocks[1], 1)[:, :k]
        stored = (weight / spread).to(torch.float8_e4m3fn)
        name = "weight_scale_inv" if kind == "block" else "weight_scale"
        tensors = {"weight": stored, name: scales.reshape(()) if kind == "tensor" else scales}
        if kind == "tensor":
            tensors["input_scale"] = torch.ones(())
        return tensors, stored.float() * spread

    return store


def _gptq_config(bits: int, **options: Any) -> dict[str, Any]:
    return {"quant_method": "gptq", "bits": bits, "group_size": GROUP, "desc_act": False, "sym": True} | options


def _gptq_dynamic(weight: Tensor, order: Tensor) -> Stored:
    """Of down_proj, which alone has so many columns, 8 bits and longer groups."""
    return (gptq(8, group=2 * GROUP) if weight.shape[1] == 128 else gptq(4))(weight, order)


_DYNAMIC = {
    "-:.*norm": {},
    r"+:model\.layers\.\d+\.mlp\.down_": {"bits": 8, "group_size": 2 * GROUP},
    ".*": {"bits": 4},
}
FORMATS = {
    "gptq4": Format(_gptq_config(4), gptq(4)),
    "gptq8": Format(_gptq_config(8), gptq(8)),
    "gptq4_zeros": Format(_gptq_config(4, sym=False), gptq(4, symmetric=False)),
    "gptq4_v2": Format(_gptq_config(4, sym=False, checkpoint_format="gptq_v2"), gptq(4, symmetric=False, version=2)),
    "gptq_dynamic": Format(_gptq_config(8, dynamic=_DYNAMIC), _gptq_dynamic),
    "gptq4_act_order": Format(_gptq_config(4, desc_act=True), gptq(4, act_order="shared")),
    "gptq4_act_order_apart": Format(_gptq_config(4, desc_act=True), gptq(4, act_order="own")),
    "awq": Format({"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}, awq),
    "fp8_tensor": Format({"quant_method": "fp8", "activation_scheme": "static"}, fp8("tensor"), exact=True),
    "fp8_channel": Format({"quant_method": "fp8", "activation_scheme": "dynamic"}, fp8("channel"), exact=True),
    "fp8_block": Format({"quant_method": "fp8", "weight_block_size": [48, 32]}, fp8("block"), exact=True),
}


def write_quantized(folder: Path, form: Format) -> tuple[Path, Path]:
    """Folders of the quantised model and of its dequantised reference."""
    config = {"quantization_config": form.config}
    quantized, reference = (write_tiny_model(folder / name) for name in ("quantized", "reference"))
    weights = load_file(reference / "model.safetensors")
    stored, plain = {}, {}
    for name, weight in weights.items():
        if not name.endswith("_proj.weight"):
            stored[name] = plain[name] = weight
            continue
        order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(weight.shape[1]))
        tensors, plain[name] = form.store(weight, order)
        stored |= {f"{name.removesuffix('.weight')}.{suffix}": tensor for suffix, tensor in tensors.items()}
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, quantized / "model.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in plain.items()}, reference / "model.safetensors")
    values = json.loads((quantized / "config.json").read_text())
    (quantized / "config.json").write_text(json.dumps(values | config))
    return quantized, reference
