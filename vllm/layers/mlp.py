"""Gated MLP: down(silu(gate(x)) * up(x))."""

from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.layers.linear import Linear
from vllm.layers.parallel_linear import column_parallel, row_parallel
from vllm.partition import Tile


class GatedMLP:
    """Gate and up projection are one matrix; without biases the activation is part of its kernel."""

    __slots__ = ("_gate_up", "_ops", "down", "fused")

    def __init__(self, checkpoint: Checkpoint, name: str, hidden: int, intermediate: int, bias: bool):
        names = [f"{name}.gate_proj", f"{name}.up_proj"]
        self._ops = checkpoint.ops
        self._gate_up: Linear | None = None
        self.fused: Tensor | None = None  # packed weight of both projections
        if bias:
            self._gate_up = column_parallel(checkpoint, names, [intermediate] * 2, hidden, bias=True)
        else:
            tiles = [Tile(rows=checkpoint.group.part)] * 2
            self.fused = checkpoint.linear_method.load(
                checkpoint, names, [intermediate] * 2, hidden, gate_up=True, tiles=tiles
            )
        self.down = row_parallel(checkpoint, f"{name}.down_proj", hidden, intermediate, bias)

    @property
    def recordable(self) -> bool:
        """With biases there is a buffer of its own for each call."""
        return self._gate_up is None and getattr(self.down, "recordable", False)

    def __call__(self, x: Tensor, activated: Tensor, out: Tensor) -> None:
        """x [tokens, hidden] to out, through `activated` [tokens, this rank's intermediate]; out may be x."""
        if self._gate_up is None:
            self._ops.linear_packed_silu_and_mul(activated, x, self.fused)
        else:
            gate_up = x.new_empty(x.shape[0], 2 * activated.shape[1])
            self._gate_up(x, gate_up)
            self._ops.silu_and_mul(activated, gate_up)
        self.down(activated, out)
