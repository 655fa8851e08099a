"""Mixtures of experts on GPUs: routing, and linear layers of experts with quantised weights, under vLLM's names.

A token's choices are numbered ``token * top_k + choice``. A tensor that does not fit raises RuntimeError, an
installation without these kernels ImportError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels.companion import problem


def _ops():
    reason = problem("_moe_C", "'vllm=*=cuda*'", builds="CUDA and ROCm")
    if reason:
        raise ImportError(reason)
    return torch.ops._moe_C


def topk_softmax(
    topk_weights: Tensor,
    topk_ids: Tensor,
    token_expert_indices: Tensor,
    gating_output: Tensor,
    renormalize: bool = False,
) -> None:
    """Write the largest weights of ``softmax(gating_output)`` ``[tokens, experts]`` and their experts.

    ``topk_weights`` is f32, ``topk_ids`` i32, both ``[tokens, top_k]``; ``token_expert_indices`` (i32, the same) gets
    ``choice * tokens + token``. With `renormalize` a token's weights sum to 1.
    """
    _ops().topk_softmax(topk_weights, topk_ids, token_expert_indices, gating_output)
    if renormalize:
        topk_weights /= topk_weights.sum(-1, keepdim=True)


def moe_sum(input: Tensor, output: Tensor) -> None:
    """Write the sums of ``input`` ``[tokens, top_k, hidden]`` over choices to ``output`` ``[tokens, hidden]``."""
    _ops().moe_sum(input, output)


def moe_align_block_size(
    topk_ids: Tensor,
    num_experts: int,
    block_size: int,
    sorted_token_ids: Tensor,
    experts_ids: Tensor,
    num_tokens_post_pad: Tensor,
) -> None:
    """Sort choices by expert, each expert's padded to blocks, into i32 ``sorted_token_ids``.

    Padding is the number of choices. ``experts_ids`` (i32) gets each block's expert, -1 past the last,
    ``num_tokens_post_pad`` (i32 ``[1]``) the choices with their padding.
    """
    _ops().moe_align_block_size(topk_ids, num_experts, block_size, sorted_token_ids, experts_ids, num_tokens_post_pad)


def moe_wna16_gemm(
    input: Tensor,
    output: Tensor,
    b_qweight: Tensor,
    b_scales: Tensor,
    b_qzeros: Tensor | None,
    topk_weights: Tensor | None,
    sorted_token_ids: Tensor,
    experts_ids: Tensor,
    num_tokens_post_pad: Tensor,
    top_k: int,
    BLOCK_SIZE_M: int,
    BLOCK_SIZE_N: int,
    BLOCK_SIZE_K: int,
    bit: int,
) -> Tensor:
    """Write each choice's token times its expert's weight to ``output`` ``[tokens * top_k, n]``, and return it.

    ``weight[e, n, k] = (code - zero) * scale``; rows of choices that no block has become zeros.

    Args:
        input: bf16 or f16 ``[tokens, k]``, or of a row a choice with ``top_k`` 1.
        b_qweight: u8 ``[experts, n, k * bit / 8]``, the code of the lower k in the lower bits; ``bit`` is 4 or 8.
        b_scales: of the input's type, ``[experts, n, groups]``, groups of a multiple of 32 columns.
        b_qzeros: u8 ``[experts, n * bit / 8, groups]``, the zero of the lower n in the lower bits; None: 8 or 128.
        topk_weights: f32, a factor for each choice.
        sorted_token_ids, experts_ids, num_tokens_post_pad: of ``moe_align_block_size`` with ``BLOCK_SIZE_M``, at most
            64. Blocks of an expert outside of ``[0, experts)`` give zeros.
        BLOCK_SIZE_N, BLOCK_SIZE_K: not used; tiles are the kernel's own.
    """
    return _ops().moe_wna16_gemm(
        input, output, b_qweight, b_scales, b_qzeros, topk_weights, sorted_token_ids, experts_ids, num_tokens_post_pad,
        top_k, BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K, bit,
    )  # fmt: skip
