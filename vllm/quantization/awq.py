"""AWQ checkpoints, as AutoAWQ and llm-compressor's predecessors write them (version "gemm")."""

from typing import Any

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.partition import WHOLE_LAYER, Tile
from vllm.quantization.base import LinearMethod, QuantizedWeight, group_count, group_part, require
from vllm.quantization.bits import unpack_rows

# Which of a word's eight columns each of its codes, lowest bits first, belongs to.
_COLUMN_OF_CODE = (0, 2, 4, 6, 1, 3, 5, 7)


class AWQ(LinearMethod):
    """4 bits with zeros. A layer has qweight i32 [k, n / 8], qzeros i32 [groups, n / 8] and scales [groups, n]."""

    def __init__(self, config: dict[str, Any]):
        require(config, "bits", config.get("w_bit", 4), 4)
        require({"version": str(config.get("version", "gemm")).lower()}, "version", "gemm", "gemm")
        self._zeroed = bool(config.get("zero_point", True))
        self._group_size = config.get("group_size", config.get("q_group_size", 128))
        if not isinstance(self._group_size, int) or (self._group_size != -1 and self._group_size % 8):
            raise ModelError(
                f"quantization_config: group_size={self._group_size!r} is not supported; supported: -1, multiples of 8"
            )

    def read(
        self, checkpoint: Checkpoint, name: str, rows: int, columns: int, tile: Tile = WHOLE_LAYER
    ) -> QuantizedWeight | Tensor:
        if not checkpoint.has(f"{name}.qweight"):
            return super().read(checkpoint, name, rows, columns, tile)
        groups = group_count(columns, self._group_size)
        of_groups = (group_part(name, columns, self._group_size, tile), tile.rows)
        packed = checkpoint.take_stored(f"{name}.qweight", (columns, rows // 8), torch.int32, tile.transposed)
        codes = _unpack(packed)
        scales = checkpoint.take_stored(f"{name}.scales", (groups, rows), parts=of_groups).float().t()
        zeros = None
        if self._zeroed or checkpoint.has(f"{name}.qzeros"):
            packed = checkpoint.take_stored(f"{name}.qzeros", (groups, rows // 8), torch.int32, of_groups)
            zeros = _unpack(packed).int()
        return QuantizedWeight(codes.contiguous(), scales, zeros, 4, self._group_size).with_shorter_groups()


def _unpack(packed: Tensor) -> Tensor:
    """i32 [m, n / 8] to u8 [n, m]."""
    codes = unpack_rows(packed, 4).unflatten(1, (-1, 8))
    ordered = torch.empty_like(codes)
    ordered[:, :, torch.tensor(_COLUMN_OF_CODE)] = codes
    return ordered.flatten(1).t()
