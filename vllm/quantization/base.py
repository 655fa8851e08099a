"""What the methods have in common: codes with scales, and from them to packed weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.partition import WHOLE, WHOLE_LAYER, Part, Tile

# The input is quantised in groups of at most this many columns, so that one large value does not cost all others
# their precision. Weights with longer groups repeat their scales.
MAX_INPUT_GROUP = 128


@dataclass(slots=True)
class QuantizedWeight:
    """``scales * (codes - zeros)``.

    codes u8 [n, k]; scales f32 [n, groups] or [n, 1]; zeros i32 [n, groups], None: 2 ** (bits - 1). A group is
    `group_size` columns, -1: all of them. Column i of the codes meets column permutation[i] of the input.
    Codes of a floating-point type of 8 bits are ``scales * codes``.
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor | None
    bits: int
    group_size: int
    permutation: Tensor | None = None

    def with_shorter_groups(self) -> "QuantizedWeight":
        """The same weight in groups of at most MAX_INPUT_GROUP, where that is a divisor."""
        k, long = self.codes.shape[1], self.group_size
        if k <= MAX_INPUT_GROUP or (long != -1 and (long <= MAX_INPUT_GROUP or long % MAX_INPUT_GROUP)):
            return self
        by_row = self.bits == 8 and self.zeros is None and self.scales.shape[1] == 1
        group_of = torch.arange(0, k, MAX_INPUT_GROUP) // (k if long == -1 else long)
        return QuantizedWeight(
            self.codes,
            self.scales if by_row else self.scales[:, group_of],
            None if self.zeros is None else self.zeros[:, group_of],
            self.bits,
            MAX_INPUT_GROUP,
            self.permutation,
        )

    def dequantized(self) -> Tensor:
        """f32 [n, k], columns as the input's."""
        n, k = self.codes.shape
        group_of = torch.arange(k) // (k if self.group_size == -1 else self.group_size)
        scales = self.scales.expand(n, int(group_of[-1]) + 1)
        weight = self.codes.float()
        if not self.codes.is_floating_point():
            weight -= 2 ** (self.bits - 1) if self.zeros is None else self.zeros[:, group_of]
        weight *= scales[:, group_of]
        if self.permutation is not None:
            weight = torch.empty_like(weight).index_copy_(1, self.permutation.long(), weight)
        return weight

    def packed(self, pack: Callable, device: torch.device, gate_up: bool) -> Any:
        """What `pack`, an OpSet's pack_quantized_weight, makes of it on the device."""

        def sent(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device).contiguous()

        tensors = (self.codes, self.scales, self.zeros, self.permutation)
        return pack(*map(sent, tensors), bits=self.bits, group_size=self.group_size, gate_up=gate_up)


class LinearMethod:
    """Reads the weights of linear layers and packs them. This one: floating point, in the model's dtype."""

    # Whether a weight in floating point is quantised too, the output head among them.
    quantizes = False

    def __init__(self, config: dict[str, Any]):
        """config is config.json's quantization_config; ModelError where it asks for what is not supported."""

    def read(
        self, checkpoint: Checkpoint, name: str, rows: int, columns: int, tile: Tile = WHOLE_LAYER
    ) -> QuantizedWeight | Tensor:
        """The tile of the weight of layer `name` [rows, columns], as codes or in floating point."""
        return checkpoint.take(f"{name}.weight", (rows, columns), tile)

    def load(
        self,
        checkpoint: Checkpoint,
        names: list[str],
        rows: list[int],
        columns: int,
        gate_up: bool = False,
        tiles: list[Tile] | None = None,
    ) -> Any:
        """The packed weight of layers with the same input, a tile of each (None: all of it) below the other."""
        tiles = [WHOLE_LAYER] * len(names) if tiles is None else tiles
        parts = [
            self.read(checkpoint, name, count, columns, tile)
            for name, count, tile in zip(names, rows, tiles, strict=True)
        ]
        return packed(checkpoint, parts, gate_up)


def packed(checkpoint: Checkpoint, parts: list[QuantizedWeight | Tensor], gate_up: bool = False) -> Any:
    """The packed weight of what was read, one below the other: what the linear ops of `checkpoint.ops` take."""
    quantized = [part for part in parts if isinstance(part, QuantizedWeight)]
    merged = stacked(quantized)
    ops = checkpoint.ops
    if merged is not None and len(quantized) == len(parts):
        made = merged.packed(ops.pack_quantized_weight, checkpoint.device, gate_up)
        if made is not None:
            return checkpoint.memory.place(made) if isinstance(made, Tensor) else made
    dense = [p.dequantized() if isinstance(p, QuantizedWeight) else p for p in parts]
    weight = checkpoint.stack([part.to(checkpoint.device, checkpoint.dtype) for part in dense])
    return checkpoint.memory.place(ops.pack_gate_up_weight(weight) if gate_up else ops.pack_linear_weight(weight))


def stacked(parts: list[QuantizedWeight]) -> QuantizedWeight | None:
    """One weight below the other; None where there is none, or they differ in more than their values."""
    if len(parts) < 2:
        return parts[0] if parts else None
    first = parts[0]
    for part in parts[1:]:
        same_order = (part.permutation is None) == (first.permutation is None) and (
            first.permutation is None or torch.equal(part.permutation, first.permutation)
        )
        same_kind = part.scales.shape[1] == first.scales.shape[1] and part.codes.dtype == first.codes.dtype
        if (part.bits, part.group_size) != (first.bits, first.group_size) or not (same_order and same_kind):
            return None
    zeros = None
    if any(part.zeros is not None for part in parts):
        middle = 2 ** (first.bits - 1)
        zeros = torch.cat([torch.full_like(p.scales, middle).int() if p.zeros is None else p.zeros for p in parts])
    return QuantizedWeight(
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scales for part in parts]),
        zeros,
        first.bits,
        first.group_size,
        first.permutation,
    )


def require(config: dict[str, Any], key: str, default: Any, *accepted: Any) -> Any:
    """config[key], which must be one of `accepted`."""
    value = config.get(key, default)
    if value not in accepted:
        shown = ", ".join(repr(a) for a in accepted)
        raise ModelError(f"quantization_config: {key}={value!r} is not supported; supported: {shown}")
    return value


def group_count(columns: int, group_size: int) -> int:
    return 1 if group_size == -1 else -(-columns // group_size)


def group_part(name: str, columns: int, group_size: int, tile: Tile) -> Part:
    """The part of a layer's groups of columns that a tile needs. ModelError where it would cut through a group."""
    if group_count(columns, group_size) == 1:
        return WHOLE
    count = tile.columns.count
    if columns % (count * group_size):
        raise ModelError(
            f"layer {name!r} cannot be split between tensor_parallel_size={count} ranks: its {columns} columns have "
            f"scales in groups of {group_size}, and each rank needs whole groups; give a smaller tensor_parallel_size"
        )
    return tile.columns


def require_whole_rows(name: str, tile: Tile) -> None:
    """ModelError for a tile of some columns of a layer whose groups have columns from everywhere (act-order)."""
    if tile.columns.count > 1:
        raise ModelError(
            f"layer {name!r} cannot be split between tensor_parallel_size={tile.columns.count} ranks: its g_idx "
            "(desc_act) puts columns from everywhere into each group; give tensor_parallel_size=1"
        )
