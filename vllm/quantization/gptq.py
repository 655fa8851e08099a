"""GPTQ checkpoints, as AutoGPTQ and GPTQModel write them."""

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.partition import WHOLE_LAYER, Tile
from vllm.quantization.base import (
    LinearMethod,
    QuantizedWeight,
    group_count,
    group_part,
    require,
    require_whole_rows,
)
from vllm.quantization.bits import unpack_rows


class _Packing(NamedTuple):
    bits: int
    group_size: int


class GPTQ(LinearMethod):
    """4 or 8 bits with zeros, in groups of columns that `g_idx` may scatter (act-order).

    GPTQModel's `dynamic` gives other bits and groups to layers whose names match a regular expression, the first one.

    A layer has qweight i32 [k * bits / 32, n], qzeros i32 [groups, n * bits / 32], scales [groups, n] and perhaps
    g_idx i32 [k]. Format v1 stores each zero less one.
    """

    def __init__(self, config: dict[str, Any]):
        self._packing = _packing(config)
        # Patterns after "-:" are of layers in floating point, which lack a qweight.
        self._exceptions = {
            re.compile(pattern.removeprefix("+:")): _packing({**config, **changed})
            for pattern, changed in (config.get("dynamic") or {}).items()
            if not pattern.startswith("-:")
        }
        version = require(config, "checkpoint_format", "gptq", "gptq", "gptq_v2")
        self._stored_less = 1 if version == "gptq" else 0

    def read(
        self, checkpoint: Checkpoint, name: str, rows: int, columns: int, tile: Tile = WHOLE_LAYER
    ) -> QuantizedWeight | Tensor:
        if not checkpoint.has(f"{name}.qweight"):
            return super().read(checkpoint, name, rows, columns, tile)
        bits, group_size = self._packing_of(name)
        groups = group_count(columns, group_size)
        of_groups = (group_part(name, columns, group_size, tile), tile.rows)
        packed = checkpoint.take_stored(f"{name}.qweight", (columns * bits // 32, rows), torch.int32, tile.transposed)
        codes = unpack_rows(packed.t(), bits)
        scales = checkpoint.take_stored(f"{name}.scales", (groups, rows), parts=of_groups).float().t()
        packed_zeros = checkpoint.take_stored(f"{name}.qzeros", (groups, rows * bits // 32), torch.int32, of_groups)
        zeros: Tensor | None = unpack_rows(packed_zeros, bits).t().int() + self._stored_less
        if bool((zeros == 2 ** (bits - 1)).all()):
            zeros = None
        permutation = _permutation(checkpoint, name, columns, group_size)
        if permutation is not None:
            require_whole_rows(name, tile)
            codes = codes[:, permutation]
        weight = QuantizedWeight(codes, scales, zeros, bits, group_size, permutation)
        return weight.with_shorter_groups()

    def _packing_of(self, name: str) -> _Packing:
        return next((packing for pattern, packing in self._exceptions.items() if pattern.match(name)), self._packing)


def _packing(config: dict[str, Any]) -> _Packing:
    bits, group_size = require(config, "bits", None, 4, 8), config.get("group_size", 128)
    if not isinstance(group_size, int) or (group_size != -1 and group_size % 8):
        raise ModelError(
            f"quantization_config: group_size={group_size!r} is not supported; supported: -1, multiples of 8"
        )
    return _Packing(bits, group_size)


def _permutation(checkpoint: Checkpoint, name: str, columns: int, group_size: int) -> Tensor | None:
    """The order of columns that makes groups consecutive; None where they are."""
    if not checkpoint.has(f"{name}.g_idx"):
        return None
    group_of = checkpoint.take_stored(f"{name}.g_idx", (columns,), torch.int32)
    if group_size == -1:
        return None
    consecutive = torch.arange(columns, dtype=torch.int32) // group_size
    if torch.equal(group_of, consecutive):
        return None
    order = group_of.argsort(stable=True)
    if not torch.equal(group_of[order], consecutive):
        raise ModelError(
            f"weight {name + '.g_idx'!r} does not put {group_size} columns into each group: "
            "the checkpoint is damaged; download it again"
        )
    return order.int()
