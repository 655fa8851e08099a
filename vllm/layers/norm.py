"""Normalization layers."""

import torch.nn.functional as F
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.kernels.norm import fused_add_rms_norm, rms_norm


class RMSNorm:
    """Root mean square norm, with the residual addition before it where there is one."""

    __slots__ = ("epsilon", "weight")
    recordable = True

    def __init__(self, weight: Tensor, epsilon: float):
        self.weight = weight
        self.epsilon = epsilon

    @classmethod
    def load(cls, checkpoint: Checkpoint, name: str, size: int, epsilon: float) -> "RMSNorm":
        return cls(checkpoint.take(f"{name}.weight", (size,)).clone(), epsilon)

    def __call__(self, x: Tensor, out: Tensor) -> None:
        rms_norm(out, x, self.weight, self.epsilon)

    def add(self, x: Tensor, residual: Tensor) -> None:
        """residual += x; x = norm(residual)."""
        fused_add_rms_norm(x, residual, self.weight, self.epsilon)


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
