"""compressed-tensors checkpoints, as llm-compressor writes them."""

from typing import Any

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint, cut
from vllm.exceptions import ModelError
from vllm.partition import WHOLE_LAYER, Tile
from vllm.quantization.base import LinearMethod, QuantizedWeight, group_count, group_part, require_whole_rows
from vllm.quantization.bits import unpack_rows
from vllm.quantization.fp8 import float8_weight

_FORMATS = ("int-quantized", "pack-quantized", "float-quantized", "naive-quantized", "dense")


class CompressedTensors(LinearMethod):
    """Integer weights of 4 or 8 bits (W8A8, W4A16, W8A16), and fp8 weights.

    A layer has weight i8 [n, k], or weight_packed i32 [n, k * bits / 32] of unsigned codes, with weight_scale
    [n, groups], and perhaps weight_zero_point and weight_g_idx [k]; or weight fp8 [n, k] with weight_scale.
    """

    def __init__(self, config: dict[str, Any]):
        form = config.get("format", "dense")
        for group in (config.get("config_groups") or {}).values():
            _check_group(group)
            form = group.get("format") or form
        if form not in _FORMATS:
            shown = ", ".join(_FORMATS)
            raise ModelError(f"quantization_config: format={form!r} is not supported; supported: {shown}")
        sparsity = (config.get("sparsity_config") or {}).get("format", "dense")
        if sparsity != "dense":
            raise ModelError(f"quantization_config: sparsity format={sparsity!r} is not supported; supported: 'dense'")
        _check_transforms(config.get("transform_config") or {})
        groups = list((config.get("config_groups") or {}).values())
        # One scale a token, as the checkpoint was made for, or one a group of columns.
        self._per_token = any(group.get("input_activations") for group in groups)
        blocks = [(group.get("weights") or {}).get("block_structure") for group in groups]
        self._block = next((block for block in blocks if block), None)

    def read(
        self, checkpoint: Checkpoint, name: str, rows: int, columns: int, tile: Tile = WHOLE_LAYER
    ) -> QuantizedWeight | Tensor:
        for unneeded in ("input_scale", "input_zero_point", "weight_shape"):
            if checkpoint.has(f"{name}.{unneeded}"):
                checkpoint.take_stored(f"{name}.{unneeded}")
        if checkpoint.has(f"{name}.weight_packed"):
            return self._read_packed(checkpoint, name, rows, columns, tile)
        if not checkpoint.has(f"{name}.weight_scale"):
            return super().read(checkpoint, name, rows, columns, tile)
        stored = checkpoint.take_stored(f"{name}.weight", (rows, columns), parts=tile)
        if stored.dtype == torch.float8_e4m3fn:
            scale = checkpoint.take_stored(f"{name}.weight_scale")
            return float8_weight(stored, scale, self._block, f"{name}.weight_scale", (rows, columns), tile)
        if stored.dtype != torch.int8:
            raise ModelError(f"weight '{name}.weight' is {stored.dtype}; supported with a scale: int8, float8_e4m3fn")
        return self._read_codes(checkpoint, name, stored.view(torch.uint8) ^ 128, 8, (rows, columns), tile)

    def _read_packed(self, checkpoint: Checkpoint, name: str, rows: int, columns: int, tile: Tile) -> QuantizedWeight:
        packed = checkpoint.take_stored(f"{name}.weight_packed", None, torch.int32)
        bits = 32 * packed.shape[1] // columns
        if bits not in (4, 8) or packed.shape != (rows, -(-columns * bits // 32)):
            raise ModelError(
                f"weight '{name}.weight_packed' has shape {list(packed.shape)}, which is not 4 or 8 bits "
                f"for each of [{rows}, {columns}]"
            )
        packed = cut(packed, f"{name}.weight_packed", tile)
        codes = unpack_rows(packed, bits)[:, : tile.columns.length(columns)].contiguous()
        return self._read_codes(checkpoint, name, codes, bits, (rows, columns), tile)

    def _read_codes(
        self, checkpoint: Checkpoint, name: str, codes: Tensor, bits: int, shape: tuple[int, int], tile: Tile
    ) -> QuantizedWeight:
        """codes u8: the tile of a weight of that shape."""
        rows, columns = shape
        scales = checkpoint.take_stored(f"{name}.weight_scale").float()
        scales = scales.reshape(-1, scales.shape[-1] if scales.dim() == 2 else 1).expand(rows, -1)
        group_size = -1 if scales.shape[1] == 1 else columns // scales.shape[1]
        if group_count(columns, group_size) != scales.shape[1] or (group_size != -1 and group_size % 8):
            raise ModelError(
                f"weight '{name}.weight_scale' has shape {list(scales.shape)}: groups of [{rows}, {columns}] "
                "must have the same size, a multiple of 8"
            )
        zeros = self._zeros(checkpoint, f"{name}.weight_zero_point", scales.shape, bits)
        of_groups = (tile.rows, group_part(name, columns, group_size, tile))
        scales = cut(scales, f"{name}.weight_scale", of_groups)
        zeros = None if zeros is None else cut(zeros, f"{name}.weight_zero_point", of_groups)
        permutation = self._permutation(checkpoint, name, columns, group_size)
        if permutation is not None:
            require_whole_rows(name, tile)
            codes = codes[:, permutation]
        weight = QuantizedWeight(codes, scales, zeros, bits, group_size, permutation)
        return weight if self._per_token else weight.with_shorter_groups()

    @staticmethod
    def _zeros(checkpoint: Checkpoint, name: str, shape: torch.Size, bits: int) -> Tensor | None:
        """i32 [rows, groups]. Stored signed, or packed along the rows; None where all are the middle code."""
        if not checkpoint.has(name):
            return None
        stored = checkpoint.take_stored(name)
        if stored.dtype == torch.int32:
            zeros = unpack_rows(stored.t(), bits).t()[: shape[0]].int()
        else:
            zeros = stored.reshape(-1, shape[1]).expand(shape).int() + 2 ** (bits - 1)
        return None if bool((zeros == 2 ** (bits - 1)).all()) else zeros

    @staticmethod
    def _permutation(checkpoint: Checkpoint, name: str, columns: int, group_size: int) -> Tensor | None:
        """Order of columns that makes the groups of an act-order checkpoint consecutive."""
        if not checkpoint.has(f"{name}.weight_g_idx"):
            return None
        group_of = checkpoint.take_stored(f"{name}.weight_g_idx", (columns,))
        if group_size == -1 or torch.equal(group_of, torch.arange(columns, dtype=group_of.dtype) // group_size):
            return None
        return group_of.argsort(stable=True).int()


def _check_group(group: dict[str, Any]) -> None:
    weights = group.get("weights") or {}
    kind, bits = weights.get("type", "int"), weights.get("num_bits", 8)
    if (kind, bits) not in (("int", 4), ("int", 8), ("float", 8)):
        raise ModelError(
            f"quantization_config: weights of type {kind} with {bits} bits are not supported; "
            "supported: int with 4 or 8, float with 8"
        )


def _check_transforms(config: dict[str, Any]) -> None:
    """ModelError for rotations of what flows between layers; those of weights are in the weights."""
    for name, scheme in (config.get("config_groups") or {}).items():
        places = {place.get("location") for place in scheme.get("apply") or []}
        if online := sorted(place for place in map(str, places) if not place.startswith("weight_")):
            raise ModelError(
                f"quantization_config: transform_config {name!r} of {', '.join(online)} is not supported; supported: "
                "transforms of weights, which the checkpoint holds"
            )
