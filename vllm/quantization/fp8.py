"""FP8 checkpoints: weights in e4m3 with a scale for all, for each row, or for each block."""

from typing import Any

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.partition import WHOLE_LAYER, Tile
from vllm.quantization.base import LinearMethod, QuantizedWeight, require


class Fp8(LinearMethod):
    """Weights stay codes where the ops take such, else they are widened; neither needs the scales of inputs."""

    def __init__(self, config: dict[str, Any]):
        require(config, "fmt", "e4m3", "e4m3", "float8_e4m3fn")
        self._block = config.get("weight_block_size")

    def read(
        self, checkpoint: Checkpoint, name: str, rows: int, columns: int, tile: Tile = WHOLE_LAYER
    ) -> QuantizedWeight | Tensor:
        scale_name = f"{name}.weight_scale_inv" if self._block else f"{name}.weight_scale"
        if not checkpoint.has(scale_name):
            return super().read(checkpoint, name, rows, columns, tile)
        if checkpoint.has(f"{name}.input_scale"):
            checkpoint.take_stored(f"{name}.input_scale")
        weight = checkpoint.take_stored(f"{name}.weight", (rows, columns), torch.float8_e4m3fn, tile)
        scale = checkpoint.take_stored(scale_name)
        return float8_weight(weight, scale, self._block, scale_name, (rows, columns), tile)


def float8_weight(
    weight: Tensor, scale: Tensor, block: list[int] | None, name: str, shape: tuple[int, int], tile: Tile
) -> QuantizedWeight | Tensor:
    """The tile of a weight [n, k] and the whole's scale: one, [n, 1], or [ceil(n / block[0]), ceil(k / block[1])].

    In floating point where the tile begins within a block of columns.
    """
    n, k = shape
    scale = scale.float()
    rows, columns = (torch.arange(*part.bounds(size)) for part, size in zip(tile, shape, strict=True))
    if block:
        if scale.shape != (-(-n // block[0]), -(-k // block[1])):
            raise ModelError(f"{name!r} has shape {list(scale.shape)}, which blocks of {block} do not give [{n}, {k}]")
        scale, block_of = scale[rows // block[0]], columns // block[1]
        if columns[0] % block[1]:
            return weight.float() * scale[:, block_of]
        return QuantizedWeight(weight, scale[:, block_of[0] : block_of[-1] + 1], None, 8, block[1])
    if scale.numel() == 1:
        scale = scale.reshape(1, 1).expand(len(rows), 1)
    elif scale.numel() == n:
        scale = scale.reshape(n, 1)[rows]
    else:
        raise ModelError(f"{name!r} has shape {list(scale.shape)}; supported: one scale, or one for each of {n} rows")
    return QuantizedWeight(weight, scale, None, 8, -1)
