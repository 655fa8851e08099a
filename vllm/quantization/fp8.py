"""FP8 checkpoints: weights in e4m3 with a scale for all, for each row, or for each block."""

from typing import Any

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.quantization.base import LinearMethod, require


class Fp8(LinearMethod):
    """Weights are widened to the model's dtype as they are loaded; the scales of inputs are not needed then."""

    def __init__(self, config: dict[str, Any]):
        require(config, "fmt", "e4m3", "e4m3", "float8_e4m3fn")
        self._block = config.get("weight_block_size")

    def read(self, checkpoint: Checkpoint, name: str, rows: int, columns: int) -> Tensor:
        scale_name = f"{name}.weight_scale_inv" if self._block else f"{name}.weight_scale"
        if not checkpoint.has(scale_name):
            return super().read(checkpoint, name, rows, columns)
        if checkpoint.has(f"{name}.input_scale"):
            checkpoint.take_stored(f"{name}.input_scale")
        weight = checkpoint.take_stored(f"{name}.weight", (rows, columns), torch.float8_e4m3fn)
        return dequantized_fp8(weight, checkpoint.take_stored(scale_name), self._block, scale_name)


def dequantized_fp8(weight: Tensor, scale: Tensor, block: list[int] | None, name: str) -> Tensor:
    """weight [n, k] times scale: one, [n, 1], or [ceil(n / block[0]), ceil(k / block[1])]; f32."""
    n, k = weight.shape
    scale = scale.float()
    if block:
        if scale.shape != (-(-n // block[0]), -(-k // block[1])):
            raise ModelError(f"{name!r} has shape {list(scale.shape)}, which blocks of {block} do not give [{n}, {k}]")
        scale = scale.repeat_interleave(block[0], 0)[:n].repeat_interleave(block[1], 1)[:, :k]
    elif scale.numel() == 1:
        scale = scale.reshape(1, 1)
    elif scale.numel() == n:
        scale = scale.reshape(n, 1)
    else:
        raise ModelError(f"{name!r} has shape {list(scale.shape)}; supported: one scale, or one for each of {n} rows")
    return weight.float() * scale
