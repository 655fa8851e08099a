"""Products of bf16 matrices, and of fp8 with scales of blocks, under DeepGEMM's names.

Offered for matrices whose rows run along k; those of e4m3 with f32 scales of 1 x 128 (a) and 128 x 128 elements (b).
The kernels are in the package ``vllm-deepgemm``.
"""

from vllm.deep_gemm.gemm import (
    bf16_gemm_nt,
    fp8_gemm_nt,
    fp8_m_grouped_gemm_nt_masked,
    m_grouped_bf16_gemm_nt_contiguous,
    m_grouped_bf16_gemm_nt_masked,
    m_grouped_fp8_gemm_nt_contiguous,
    m_grouped_fp8_gemm_nt_masked,
)
from vllm.deep_gemm.layout import (
    get_m_alignment_for_contiguous_layout,
    get_mk_alignment_for_contiguous_layout,
    get_mn_major_tma_aligned_tensor,
    get_tma_aligned_size,
)
from vllm.deep_gemm.quantize import align, ceil_div, ceil_to_ue8m0, per_block_cast_to_fp8, per_token_cast_to_fp8

__all__ = [
    "align",
    "bf16_gemm_nt",
    "ceil_div",
    "ceil_to_ue8m0",
    "fp8_gemm_nt",
    "fp8_m_grouped_gemm_nt_masked",
    "get_m_alignment_for_contiguous_layout",
    "get_mk_alignment_for_contiguous_layout",
    "get_mn_major_tma_aligned_tensor",
    "get_tma_aligned_size",
    "m_grouped_bf16_gemm_nt_contiguous",
    "m_grouped_bf16_gemm_nt_masked",
    "m_grouped_fp8_gemm_nt_contiguous",
    "m_grouped_fp8_gemm_nt_masked",
    "per_block_cast_to_fp8",
    "per_token_cast_to_fp8",
]
