"""One layer's attention over the paged KV cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vllm.attention.step_input import StepInput
from vllm.exceptions import ModelError
from vllm.kernels.attention import paged_attention_varlen
from vllm.kernels.qkv import qkv_norm_rope_cache
from vllm.kernels.quantized_cache import paged_attention_varlen_quantized, qkv_norm_rope_quantized_cache


@dataclass(slots=True)
class AttentionShape:
    """Heads of one layer. `sliding_window` counts the token itself; 0 sees everything."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    sliding_window: int = 0

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ModelError(f"{self.num_heads} heads cannot share {self.num_kv_heads} key and value heads evenly")
        if self.head_size % 8 or self.head_size > 256:
            raise ModelError(f"head size {self.head_size} is not supported: it must be a multiple of 8 up to 256")

    @property
    def query_width(self) -> int:
        return self.num_heads * self.head_size

    @property
    def qkv_width(self) -> int:
        return (self.num_heads + 2 * self.num_kv_heads) * self.head_size


@dataclass(slots=True)
class LayerCache:
    """One layer's keys and values, in a layout of kernels/attention.py; with scales, in 8 bits."""

    keys: Tensor
    values: Tensor
    scales: tuple[Tensor, Tensor] | None = None  # of keys and of values (kernels/quantized_cache.py)


class PagedAttention:
    """Rotates and norms queries and keys, stores keys and values, attends."""

    recordable = True  # see layers/replay.py

    def __init__(
        self,
        shape: AttentionShape,
        cos_sin: Tensor | None = None,
        q_norm: Tensor | None = None,
        k_norm: Tensor | None = None,
        norm_epsilon: float = 1e-6,
        kv_scales: tuple[float, float] = (1.0, 1.0),
    ):
        """cos_sin: table of layers/rotary.py; q_norm, k_norm: [head_size] weights of per-head RMS norms.

        kv_scales: of keys and of values in fp8, where the cache holds them so.
        """
        self.shape, self.kv_scales = shape, kv_scales
        self._scale = shape.head_size**-0.5
        self._cos_sin, self._q_norm, self._k_norm, self._epsilon = cos_sin, q_norm, k_norm, norm_epsilon
        self.bind(LayerCache(torch.empty(0), torch.empty(0)))

    def bind(self, cache: LayerCache) -> None:
        if cache.scales is None:
            self._store, self._attend = qkv_norm_rope_cache, paged_attention_varlen
        else:
            self._store, self._attend = qkv_norm_rope_quantized_cache, paged_attention_varlen_quantized
        self._cache = (cache.keys, cache.values, *(cache.scales or ()))

    @property
    def cache_address(self) -> int:
        """Changes where another cache is bound."""
        return self._cache[0].data_ptr()

    def __call__(self, qkv: Tensor, query: Tensor, step: StepInput, out: Tensor) -> None:
        """qkv [tokens, qkv_width] is overwritten; query is its view [tokens, heads, head_size]; out likewise."""
        shape = self.shape
        self._store(
            qkv,
            step.positions,
            self._cos_sin,
            self._q_norm,
            self._k_norm,
            self._epsilon,
            shape.num_heads,
            shape.num_kv_heads,
            shape.head_size,
            True,
            *self._cache,
            step.slot_mapping,
        )
        self._attend(
            out,
            query,
            *self._cache,
            step.query_start_loc,
            step.seq_lens,
            step.block_table,
            self._scale,
            shape.sliding_window,
        )
