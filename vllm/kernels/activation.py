"""Activation functions, computed in f32 and rounded once to the tensors' dtype (f32, bf16 or f16).

``*_and_mul`` read ``x`` ``[..., 2 * size]`` and write ``out`` ``[..., size]``: the first half of each row is the gate
(``mul_and_silu``: the second half). Rows must be contiguous; leading dimensions may have any strides that merge into
three or fewer. A tensor that does not fit raises RuntimeError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_ops = torch.ops._C
_silu_and_mul = _ops.silu_and_mul.default
_mul_and_silu = _ops.mul_and_silu.default
_gelu_and_mul = _ops.gelu_and_mul.default
_gelu_tanh_and_mul = _ops.gelu_tanh_and_mul.default
_fatrelu_and_mul = _ops.fatrelu_and_mul.default
_swigluoai_and_mul = _ops.swigluoai_and_mul.default
_gelu_new = _ops.gelu_new.default
_gelu_fast = _ops.gelu_fast.default
_gelu_quick = _ops.gelu_quick.default


def silu_and_mul(out: Tensor, x: Tensor) -> None:
    """``silu(gate) * up``, the feed-forward activation of Llama (SwiGLU; Shazeer, 2020)."""
    _silu_and_mul(out, x)


def mul_and_silu(out: Tensor, x: Tensor) -> None:
    """``up * silu(gate)`` where the gate is the second half of each row."""
    _mul_and_silu(out, x)


def gelu_and_mul(out: Tensor, x: Tensor) -> None:
    """``gelu(gate) * up`` with the exact (error function) gelu."""
    _gelu_and_mul(out, x)


def gelu_tanh_and_mul(out: Tensor, x: Tensor) -> None:
    """``gelu(gate) * up`` with the tanh approximation of gelu."""
    _gelu_tanh_and_mul(out, x)


def fatrelu_and_mul(out: Tensor, x: Tensor, threshold: float) -> None:
    """``(gate if gate > threshold else 0) * up``."""
    _fatrelu_and_mul(out, x, threshold)


def swigluoai_and_mul(out: Tensor, x: Tensor, alpha: float = 1.702, limit: float = 7.0) -> None:
    """``(u + 1) * g * sigmoid(alpha * g)``, ``g = min(gate, limit)``, ``u = clamp(up, -limit, limit)``.

    Gates and ups alternate in each row: gates at even, ups at odd places.
    """
    _swigluoai_and_mul(out, x, alpha, limit)


def gelu_new(out: Tensor, x: Tensor) -> None:
    """``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``; ``out`` and ``x`` have one shape."""
    _gelu_new(out, x)


def gelu_fast(out: Tensor, x: Tensor) -> None:
    """The function of :func:`gelu_new`, under the name that some model configurations use."""
    _gelu_fast(out, x)


def gelu_quick(out: Tensor, x: Tensor) -> None:
    """``x * sigmoid(1.702 x)``; ``out`` and ``x`` have one shape."""
    _gelu_quick(out, x)


def _writes_out(out: Tensor, x: Tensor, *parameters: float) -> None:
    """The ops' fake implementation: nothing but ``out``, whose shape the caller gave."""


for _name in (
    "silu_and_mul", "mul_and_silu", "gelu_and_mul", "gelu_tanh_and_mul", "fatrelu_and_mul", "swigluoai_and_mul",
    "gelu_new", "gelu_fast", "gelu_quick",
):  # fmt: skip
    torch.library.register_fake(f"_C::{_name}", _writes_out)
