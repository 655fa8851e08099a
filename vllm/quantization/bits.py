"""Codes packed into 32-bit integers."""

import torch
from torch import Tensor


def unpack_rows(packed: Tensor, bits: int) -> Tensor:
    """i32 [n, words] to u8 [n, words * 32 / bits]: the lowest bits of a word are its first code."""
    # A word's bytes lie lowest first on every machine that safetensors files are mapped on unchanged.
    octets = packed.contiguous().view(torch.uint8)
    if bits == 8:
        return octets
    codes = torch.empty(*octets.shape, 2, dtype=torch.uint8)
    torch.bitwise_and(octets, 15, out=codes[..., 0])
    torch.bitwise_right_shift(octets, 4, out=codes[..., 1])
    return codes.flatten(-2)
