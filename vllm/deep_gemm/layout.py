"""How DeepGEMM lays out scales and the rows of experts. These kernels read any strides; callers may still ask."""

from __future__ import annotations

from torch import Tensor

from vllm.deep_gemm.quantize import align

CONTIGUOUS_ALIGNMENT = 128
TMA_BYTES = 16


def get_mk_alignment_for_contiguous_layout() -> int:
    """Rows of experts in one matrix start at multiples of this."""
    return CONTIGUOUS_ALIGNMENT


get_m_alignment_for_contiguous_layout = get_mk_alignment_for_contiguous_layout


def get_tma_aligned_size(x: int, element_size: int) -> int:
    """``x`` elements of ``element_size`` bytes, rounded up to 16 bytes."""
    return align(x, TMA_BYTES // element_size)


def get_mn_major_tma_aligned_tensor(x: Tensor) -> Tensor:
    """Scales ``[..., rows, blocks]`` f32 with rows adjacent in memory, columns at multiples of 16 bytes.

    ``x`` itself where it lies so already.
    """
    rows, blocks = x.shape[-2:]
    stride = get_tma_aligned_size(rows, x.element_size())
    strides = (*(blocks * stride for _ in x.shape[:-2]), 1, stride)
    if x.stride() == strides:
        return x
    return x.new_empty((*x.shape[:-2], blocks, stride)).transpose(-1, -2)[..., :rows, :].copy_(x)
