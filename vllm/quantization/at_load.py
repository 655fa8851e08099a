"""Quantises a model in floating point while it is loaded (--quantization int8, int4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.quantization.base import LinearMethod, QuantizedWeight

_CHUNK = 1 << 20  # elements in f32 at a time


class Int8(LinearMethod):
    """8-bit weights with a scale a row; the input in groups of 64 columns with a scale each."""

    quantizes = True

    def read(self, checkpoint: Checkpoint, name: str, rows: int, columns: int) -> QuantizedWeight:
        return self.quantized(super().read(checkpoint, name, rows, columns))

    def quantized(self, weight: Tensor) -> QuantizedWeight:
        """weight [n, k]: the largest value of a row becomes 127 or -127."""
        n, k = weight.shape
        codes, scales = torch.empty(n, k, dtype=torch.uint8), torch.empty(n, 1)
        for rows in _chunks(n, k):
            part = weight[rows].float()
            scale = part.abs().amax(1, keepdim=True) / 127
            scales[rows] = scale
            codes[rows] = part.div(_divisor(scale)).round_().add_(128).to(torch.uint8)
        return QuantizedWeight(codes, scales, None, bits=8, group_size=64)


class Int4(Int8):
    """4-bit weights and 8-bit inputs in groups of 32 columns, each with a scale: llama.cpp's Q4_0 times Q8_0."""

    def quantized(self, weight: Tensor) -> QuantizedWeight:
        """weight [n, k]: a group's value of the largest size becomes -8 times its scale."""
        (n, k), group = weight.shape, 32
        groups = -(-k // group)
        codes, scales = torch.empty(n, k, dtype=torch.uint8), torch.empty(n, groups)
        for rows in _chunks(n, k):
            part = F.pad(weight[rows].float(), (0, groups * group - k)).unflatten(1, (groups, group))
            largest = part.gather(2, part.abs().argmax(2, keepdim=True))
            scale = (largest / -8).half().float()
            scales[rows] = scale.squeeze(2)
            code = part.div(_divisor(scale)).round_().add_(8).clamp_(0, 15).to(torch.uint8)
            codes[rows] = code.flatten(1)[:, :k]
        return QuantizedWeight(codes, scales, None, bits=4, group_size=group)


def _chunks(n: int, k: int) -> list[slice]:
    step = max(1, _CHUNK // k)
    return [slice(begin, min(begin + step, n)) for begin in range(0, n, step)]


def _divisor(scale: Tensor) -> Tensor:
    """Rows of zeros have a scale of zero."""
    return scale.masked_fill(scale == 0, 1.0)
