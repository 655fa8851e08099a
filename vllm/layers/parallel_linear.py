"""Linear layers split between ranks as in Megatron-LM (Shoeybi et al., 2019): by outputs, then by inputs, then a sum.

Sizes are those of whole layers; a loaded layer's `in_features` and `out_features` are this rank's.
"""

from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.distributed.group import Group
from vllm.layers.linear import Linear
from vllm.partition import Tile, shared_part


def column_parallel(
    checkpoint: Checkpoint, names: list[str], out_features: list[int], in_features: int, bias: bool = False
) -> Linear:
    """Each rank computes its part of every weight's outputs from the whole input."""
    parts = [checkpoint.group.part] * len(names)
    return Linear.load_parts(checkpoint, names, out_features, in_features, bias, parts)


def qkv_parallel(
    checkpoint: Checkpoint, name: str, heads: int, kv_heads: int, head_size: int, in_features: int, bias: bool = False
) -> Linear:
    """Queries, keys and values of each rank's heads; of fewer key and value heads than ranks, several have the same."""
    group = checkpoint.group
    of_keys = shared_part(group.rank, group.size, kv_heads)
    return Linear.load_parts(
        checkpoint,
        [f"{name}.{which}_proj" for which in "qkv"],
        [heads * head_size, kv_heads * head_size, kv_heads * head_size],
        in_features,
        bias,
        [group.part, of_keys, of_keys],
    )


def row_parallel(checkpoint: Checkpoint, name: str, out_features: int, in_features: int, bias: bool = False) -> Linear:
    """Each rank multiplies its part of the input by the columns for it, and all of them add up what they have."""
    group = checkpoint.group
    if group.size == 1:
        return Linear.load(checkpoint, [name], [out_features], in_features, bias)
    tiles = [Tile(columns=group.part)]
    packed = checkpoint.linear_method.load(checkpoint, [name], [out_features], in_features, tiles=tiles)
    added = checkpoint.take(f"{name}.bias", (out_features,)).clone() if bias else None
    layer = RowParallelLinear(checkpoint.ops, packed, out_features, group.part.length(in_features))
    layer.bind(group, added)
    return layer


class RowParallelLinear(Linear):
    """A layer whose output is the sum of what the ranks compute of it."""

    __slots__ = ("_group",)

    def bind(self, group: Group, bias: Tensor | None) -> None:
        """The ranks, of which the first adds the bias [out_features]."""
        self._group = group
        self.bias = bias if group.rank == 0 else None
        self.recordable = self.recordable and group.recordable

    def __call__(self, x: Tensor, out: Tensor) -> None:
        """x [tokens, in_features] to out [tokens, out_features], contiguous; returns when all ranks have called it."""
        super().__call__(x, out)
        self._group.all_reduce(out)
