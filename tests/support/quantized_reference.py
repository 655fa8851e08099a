"""Weights of 4- and 8-bit codes in plain torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Codes:
    """``scales * (codes - zeros)``; see vllm.kernels.quantized_linear."""

    codes: Tensor  # u8 [n, k]
    scales: Tensor  # f32 [n, groups], or [n, 1]
    zeros: Tensor | None  # i32 [n, groups]
    bits: int
    group_size: int

    @property
    def group(self) -> int:
        return self.codes.shape[1] if self.group_size == -1 else self.group_size

    def dequantized(self) -> Tensor:
        """f64 [n, k]."""
        n, k = self.codes.shape
        group_of = torch.arange(k) // self.group
        scales = self.scales.double().expand(n, int(group_of[-1]) + 1)
        zeros = torch.full_like(scales, 2 ** (self.bits - 1)) if self.zeros is None else self.zeros.double()
        return scales[:, group_of] * (self.codes.double() - zeros[:, group_of])


def random_codes(n: int, k: int, bits: int, group_size: int, by_row: bool, zeroed: bool, seed: int) -> Codes:
    """Weights of order 1 / sqrt(k)."""
    generator = torch.Generator().manual_seed(seed)
    groups = 1 if by_row or group_size == -1 else -(-k // group_size)
    codes = torch.randint(0, 2**bits, (n, k), generator=generator).to(torch.uint8)
    scales = (torch.rand((n, groups), generator=generator) + 0.1) * (k**-0.5 / 2 ** (bits - 1))
    if not by_row:
        scales = scales.half().float()  # what checkpoints hold
    zeros = torch.randint(0, 2**bits + 1, (n, groups), generator=generator).int() if zeroed else None
    return Codes(codes, scales, zeros, bits, group_size)


def quantized_input(x: Tensor, group: int) -> Tensor:
    """x [m, k] as it reads after being rounded to 8-bit codes with a scale a group of each row; f64."""
    parts = []
    for part in x.float().split(group, dim=1):
        bound = part.abs().amax(1, keepdim=True)
        inverse = torch.where(bound > 0, torch.tensor(127.0).expand_as(bound).div(bound), 0.0)
        parts.append(torch.round(part * inverse).double() * (bound * (1 / 127)).double())
    return torch.cat(parts, 1)
