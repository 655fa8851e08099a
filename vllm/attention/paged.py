"""One layer's attention over the paged KV cache."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from vllm.attention.step_input import StepInput
from vllm.exceptions import ModelError

_bindings = itertools.count()


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

    def of_rank(self, ranks: int) -> "AttentionShape":
        """The heads of one of `ranks` ranks. Key and value heads that are fewer than ranks are repeated."""
        if self.num_heads % ranks or (self.num_kv_heads % ranks and ranks % self.num_kv_heads):
            raise ModelError(
                f"{self.num_heads} heads with {self.num_kv_heads} key and value heads cannot be split between "
                f"tensor_parallel_size={ranks} ranks: give a divisor of {self.num_heads} that divides "
                f"{self.num_kv_heads} or is a multiple of it"
            )
        return replace(self, num_heads=self.num_heads // ranks, num_kv_heads=max(self.num_kv_heads // ranks, 1))

    @property
    def query_width(self) -> int:
        return self.num_heads * self.head_size

    @property
    def qkv_width(self) -> int:
        return (self.num_heads + 2 * self.num_kv_heads) * self.head_size


@dataclass(slots=True)
class LayerCache:
    """One layer's keys and values, and the functions of an attention backend that know their layout.

    Attributes:
        tensors: keys and values; with scales of keys and of values behind them, in 8 bits.
        store: as qkv_norm_rope_cache of kernels/qkv.py, with `tensors` for its caches.
        attend: (out, query, *tensors, step, scale, sliding_window), as paged_attention_varlen of kernels/attention.py.
    """

    tensors: tuple[Tensor, ...]
    store: Callable[..., None]
    attend: Callable[..., None]


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
        self.unbind()

    def bind(self, cache: LayerCache) -> None:
        """Takes a cache; before the first call, and again after `unbind`."""
        self._cache, self._store, self._attend = cache.tensors, cache.store, cache.attend
        self.binding = next(_bindings)

    def unbind(self) -> None:
        """Lets go of the cache's memory."""
        self._cache: tuple[Tensor, ...] = ()
        self.binding = -1  # another number for every cache that is bound

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
        self._attend(out, query, *self._cache, step, self._scale, shape.sliding_window)
