"""Products with weights of which at most two of any four neighbours in a row are not zero, under vLLM's names.

Such a weight takes half of its memory. GPUs only: a build without these kernels raises ImportError, a tensor that does
not fit RuntimeError.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vllm.kernels import gpu_only, load

load()


def _ops() -> Any:
    return gpu_only.ops("_C", "cutlass_sparse_compress", "has no sparse products")


def register_fakes(namespace: str) -> None:
    """Tell torch.compile the shapes of the ops' results."""

    @torch.library.register_fake(f"{namespace}::cutlass_sparse_compress")
    def _(a):
        n, k = a.shape
        return [a.new_empty(n, k // 2), a.new_empty((n, k // 8), dtype=torch.uint8)]


if hasattr(torch.ops._C, "cutlass_sparse_compress"):
    register_fakes("_C")


def cutlass_sparse_scaled_mm_supported(cuda_device_capability: int) -> bool:
    """Whether these products serve GPUs of that capability (90 for 9.0); false in builds without CUDA."""
    ops = torch.ops._C
    return hasattr(ops, "cutlass_sparse_scaled_mm_supported") and ops.cutlass_sparse_scaled_mm_supported(
        cuda_device_capability
    )


def cutlass_sparse_compress(a: Tensor) -> tuple[Tensor, Tensor]:
    """Compress a weight ``[n, k]``, contiguous, of int8, e4m3, bf16 or f16; k is a multiple of 8.

    Of every four columns the two values of the largest magnitude are kept: all that are not zero where the weight is
    2:4 sparse.

    Returns:
        The values ``[n, k / 2]``, and u8 ``[n, k / 8]``: for every four columns, in four bits, the places of the two.
    """
    values, places = _ops().cutlass_sparse_compress.default(a)
    return values, places


def cutlass_scaled_sparse_mm(
    a: Tensor,
    bt_nzs: Tensor,
    bt_meta: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    out_dtype: torch.dtype,
    bias: Tensor | None = None,
) -> Tensor:
    """``scale_a * (a @ weight.T) * scale_b + bias``: a ``[m, k]``, result ``[m, n]`` of ``out_dtype``.

    `bt_nzs` and `bt_meta` are what `cutlass_sparse_compress` made of the weight ``[n, k]``, of a's type. Scales are
    f32, one value or one for each row of a and of the weight; bias is ``[n]`` of ``out_dtype``. n is a multiple of 16,
    k of 32.
    """
    out = a.new_empty((a.shape[0], bt_nzs.shape[0]), dtype=out_dtype)
    _ops().cutlass_scaled_sparse_mm.default(out, a, bt_nzs, bt_meta, scale_a, scale_b, bias)
    return out
