"""Sampling and decode attention under FlashInfer's names. The package ``vllm-flashinfer`` has the sampling kernels."""

from vllm.flashinfer import sampling
from vllm.flashinfer.decode import BatchDecodeWithPagedKVCacheWrapper

__all__ = ["BatchDecodeWithPagedKVCacheWrapper", "sampling"]
