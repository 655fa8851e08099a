"""One layer's attention over the paged KV cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vllm.attention.step_input import StepInput
from vllm.exceptions import ModelError
from vllm.kernels.attention import paged_attention_varlen
from vllm.kernels.qkv import qkv_norm_rope_cache


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
    ):
        """cos_sin: table of layers/rotary.py; q_norm, k_norm: [head_size] weights of per-head RMS norms."""
        self.shape = shape
        self._scale = shape.head_size**-0.5
        self._cos_sin, self._q_norm, self._k_norm, self._epsilon = cos_sin, q_norm, k_norm, norm_epsilon
        self._key_cache = self._value_cache = torch.empty(0)

    def bind(self, key_cache: Tensor, value_cache: Tensor) -> None:
        """This layer's keys and values, in a layout of kernels/attention.py."""
        self._key_cache, self._value_cache = key_cache, value_cache

    @property
    def cache_address(self) -> int:
        """Changes where another cache is bound."""
        return self._key_cache.data_ptr()

    def __call__(self, qkv: Tensor, query: Tensor, step: StepInput, out: Tensor) -> None:
        """qkv [tokens, qkv_width] is overwritten; query is its view [tokens, heads, head_size]; out likewise."""
        shape = self.shape
        qkv_norm_rope_cache(
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
            self._key_cache,
            self._value_cache,
            step.slot_mapping,
        )
        paged_attention_varlen(
            out,
            query,
            self._key_cache,
            self._value_cache,
            step.query_start_loc,
            step.seq_lens,
            step.block_table,
            self._scale,
            shape.sliding_window,
        )
