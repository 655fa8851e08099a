"""Linear layers over weights that are packed once, while they are loaded."""

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.kernels.op_set import OpSet
from vllm.partition import Part, Tile


class Linear:
    """out = x @ weight.T + bias, for one weight or several with the same input, stacked along the output."""

    __slots__ = ("_multiply", "bias", "in_features", "out_features", "packed", "recordable")

    def __init__(self, ops: OpSet, packed: Tensor, out_features: int, in_features: int, bias: Tensor | None = None):
        """packed: of a weight [out_features, in_features] (vllm.kernels.linear); bias [out_features]."""
        self._multiply = ops.linear_packed
        self.recordable = ops.recordable  # see layers/replay.py
        self.out_features, self.in_features = out_features, in_features
        self.packed = packed
        self.bias = bias

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, names: list[str], out_features: list[int], in_features: int, bias: bool = False
    ) -> "Linear":
        """Reads the weight (and the bias) of each name and stacks them."""
        return cls.load_parts(checkpoint, names, out_features, in_features, bias, [Part()] * len(names))

    @classmethod
    def load_parts(
        cls,
        checkpoint: Checkpoint,
        names: list[str],
        out_features: list[int],
        in_features: int,
        bias: bool,
        parts: list[Part],
    ) -> "Linear":
        """As `load`, of each name's outputs only a part."""
        tiles = [Tile(rows=part) for part in parts]
        packed = checkpoint.linear_method.load(checkpoint, names, out_features, in_features, tiles=tiles)
        total = sum(part.length(size) for part, size in zip(parts, out_features, strict=True))
        if not bias:
            return cls(checkpoint.ops, packed, total, in_features)
        biases = [
            checkpoint.take(f"{name}.bias", (size,), (part,))
            for name, size, part in zip(names, out_features, parts, strict=True)
        ]
        return cls(checkpoint.ops, packed, total, in_features, torch.cat(biases))

    def __call__(self, x: Tensor, out: Tensor) -> None:
        """x [tokens, in_features] (any row stride) to out [tokens, out_features]."""
        self._multiply(out, x, self.packed, self.bias)
