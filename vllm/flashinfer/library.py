"""The ops that this package calls."""

from __future__ import annotations

from typing import Any

import torch

from vllm.kernels import companion

NAMESPACE = "_flashinfer_C"
OPS = ("sample", "softmax", "top_p_renorm_probs", "top_k_renorm_probs", "top_k_mask_logits")


def sampling_ops() -> Any:
    """``torch.ops._flashinfer_C``, loaded.

    Raises:
        ImportError: its module is not installed or cannot be loaded.
    """
    return companion.ops(f"flashinfer/{NAMESPACE}", "vllm-flashinfer", register_fakes)


def register_fakes(namespace: str) -> None:
    """Tell torch.compile what it must know of ops that only write to their arguments."""
    for name in OPS:
        torch.library.register_fake(f"{namespace}::{name}", lambda *arguments: None)


def attention_op() -> Any:
    """``paged_attention_varlen``, which is among vllm's own kernels.

    Raises:
        ImportError: they are not installed or cannot be loaded.
    """
    from vllm.kernels import load

    load()
    return torch.ops._C.paged_attention_varlen.default
