"""Normalization layers."""

import torch.nn.functional as F
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.kernels.op_set import OpSet


class RMSNorm:
    """Root mean square norm, with the residual addition before it where there is one."""

    __slots__ = ("_add", "_norm", "epsilon", "recordable", "weight")

    def __init__(self, ops: OpSet, weight: Tensor, epsilon: float):
        self._norm, self._add = ops.rms_norm, ops.fused_add_rms_norm
        self.recordable = ops.recordable
        self.weight = weight
        self.epsilon = epsilon

    @classmethod
    def load(cls, checkpoint: Checkpoint, name: str, size: int, epsilon: float) -> "RMSNorm":
        return cls(checkpoint.ops, checkpoint.take(f"{name}.weight", (size,)).clone(), epsilon)

    def __call__(self, x: Tensor, out: Tensor) -> None:
        self._norm(out, x, self.weight, self.epsilon)

    def add(self, x: Tensor, residual: Tensor) -> None:
        """residual += x; x = norm(residual)."""
        self._add(x, residual, self.weight, self.epsilon)


class LayerNorm:
    """Mean and variance norm with weight and bias."""

    __slots__ = ("bias", "epsilon", "size", "weight")

    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float):
        self.weight, self.bias, self.epsilon = weight, bias, epsilon
        self.size = (weight.shape[0],)

    @classmethod
    def load(cls, checkpoint: Checkpoint, name: str, size: int, epsilon: float = 1e-5) -> "LayerNorm":
        weight = checkpoint.take(f"{name}.weight", (size,)).clone()
        return cls(weight, checkpoint.take(f"{name}.bias", (size,)).clone(), epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.size, self.weight, self.bias, self.epsilon)
