"""A KV cache of 8-bit codes in plain torch: what the kernels store, and what attention then sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from support.attention_case import AttentionCase, pack_keys, pack_values
from vllm.kernels.quantized_cache import paged_attention_varlen_quantized

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}
CODES = tuple(LARGEST)


def quantize(x: Tensor, code: torch.dtype, scale: float | None) -> tuple[Tensor, Tensor]:
    """Codes of x [..., head_size] and their scales f32 [...]: `scale`, or one for each head."""
    x = x.float()
    scales = x.abs().amax(-1) / LARGEST[code] if scale is None else torch.full(x.shape[:-1], scale)
    scaled = (x / scales.masked_fill(scales == 0, math.inf).unsqueeze(-1)).clamp(-LARGEST[code], LARGEST[code])
    return (scaled.round() if code == torch.int8 else scaled).to(code), scales


@dataclass(frozen=True)
class QuantizedCase(AttentionCase):
    """The same sequences over codes. Positions that no sequence wrote hold the code 0x7F and infinite scales."""

    code: torch.dtype = torch.int8
    static_scale: float | None = None  # None: one for each token and head

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = (2, len(self.key_cache), self.kv_heads, self.block_size, self.head_size)
        codes = torch.full(shape, 0x7F, dtype=torch.uint8)
        scales = torch.full(shape[:-1], math.inf)
        rounded = []
        for i, keys_values in enumerate(self.keys_values):
            quantized, their_scales = quantize(keys_values, self.code, self.static_scale)
            position = torch.arange(keys_values.shape[1])
            block, slot = self.block_table[i, position // self.block_size].long(), position % self.block_size
            codes[:, block, :, slot] = quantized.view(torch.uint8).transpose(0, 1)
            scales[:, block, :, slot] = their_scales.transpose(0, 1)
            rounded.append(quantized.float() * their_scales.unsqueeze(-1))
        if self.static_scale is not None:
            scales = torch.full((2, 1), self.static_scale)
        for name, value in {
            "key_cache": pack_keys(codes[0], self.dtype).view(self.code),
            "value_cache": pack_values(codes[1], self.dtype).view(self.code),
            "k_scale": scales[0],
            "v_scale": scales[1],
            "keys_values": rounded,
        }.items():
            object.__setattr__(self, name, value)

    def attend(self, out: Tensor, arguments: tuple, lse: Tensor | None = None) -> None:
        query, keys, values, *others = arguments
        paged_attention_varlen_quantized(out, query, keys, values, self.k_scale, self.v_scale, *others, lse)
