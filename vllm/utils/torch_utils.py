"""Upstream's helpers around torch that programs import."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from vllm.platforms import current_platform

STR_DTYPE_TO_TORCH_DTYPE = {
    "float32": torch.float32,
    "float": torch.float32,
    "float16": torch.float16,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "fp8": torch.uint8,
    "fp8_e4m3": torch.uint8,
    "fp8_e5m2": torch.uint8,
}
"""What caches hold by the name of their type; 8-bit floats are stored as bytes."""
_FP8 = {"fp8": torch.float8_e4m3fn, "fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}


def set_random_seed(seed: int | None) -> None:
    """Of Python's, numpy's and torch's generators, which the engine does not draw from: SamplingParams has its seed."""
    current_platform.seed_everything(seed)


@contextlib.contextmanager
def set_default_torch_dtype(dtype: torch.dtype) -> Iterator[None]:
    """torch's default for new tensors of floats, inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def get_dtype_size(dtype: torch.dtype) -> int:
    """Bytes of an element."""
    return dtype.itemsize


def get_kv_cache_torch_dtype(
    cache_dtype: str | torch.dtype | None, model_dtype: str | torch.dtype | None = None
) -> torch.dtype:
    """What a cache of that type holds: the model's type for "auto".

    Raises:
        ValueError: there is no such type.
    """
    given = model_dtype if cache_dtype == "auto" else cache_dtype
    if isinstance(given, torch.dtype):
        return given
    if given not in STR_DTYPE_TO_TORCH_DTYPE:
        known = ", ".join(STR_DTYPE_TO_TORCH_DTYPE)
        raise ValueError(f"a KV cache of {given!r} is not accepted: give a torch.dtype or one of {known}")
    return STR_DTYPE_TO_TORCH_DTYPE[given]


def create_kv_caches_with_random(
    num_blocks: int,
    block_size: int,
    num_layers: int,
    num_heads: int,
    head_size: int,
    cache_dtype: str | torch.dtype | None,
    model_dtype: str | torch.dtype | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Keys and values of each layer in the classic layout, even over ``head_size ** -0.5`` to both sides of 0.

    Keys are ``[blocks, heads, head_size / x, block_size, x]`` with ``x`` elements in 16 bytes, values ``[blocks, heads,
    head_size, block_size]``. ``device``: by default what models run on.

    Raises:
        ValueError: the type is unknown, or heads of this size are not whole groups of ``x``.
    """
    set_random_seed(seed)
    dtype = get_kv_cache_torch_dtype(cache_dtype, model_dtype)
    x = 16 // dtype.itemsize
    if head_size % x:
        raise ValueError(f"head_size {head_size} is not accepted for a cache of {cache_dtype}: give a multiple of {x}")
    keys = (num_blocks, num_heads, head_size // x, block_size, x)
    values = (num_blocks, num_heads, head_size, block_size)

    def layers(shape: tuple[int, ...]) -> list[Tensor]:
        return [_random_cache(shape, cache_dtype, dtype, head_size, device) for _ in range(num_layers)]

    return layers(keys), layers(values)


def create_kv_caches_with_random_flash(
    num_blocks: int,
    block_size: int,
    num_layers: int,
    num_heads: int,
    head_size: int,
    cache_dtype: str | torch.dtype | None,
    model_dtype: str | torch.dtype | None = None,
    seed: int | None = None,
    device: str | None = None,
    cache_layout: str | None = "NHD",
) -> tuple[list[Tensor], list[Tensor]]:
    """`create_kv_caches_with_random`, ``[blocks, block_size, heads, head_size]``, a block's keys before its values.

    ``cache_layout``: "NHD", or "HND" for memory in which a head's elements of a block lie together.

    Raises:
        ValueError: the type or the layout is unknown.
    """
    if cache_layout not in ("NHD", "HND"):
        raise ValueError(f"cache_layout={cache_layout!r} is not accepted: give 'NHD' or 'HND'")
    set_random_seed(seed)
    dtype = get_kv_cache_torch_dtype(cache_dtype, model_dtype)
    inner = (block_size, num_heads) if cache_layout == "NHD" else (num_heads, block_size)
    caches = []
    for _ in range(num_layers):
        both = _random_cache((num_blocks, 2, *inner, head_size), cache_dtype, dtype, head_size, device)
        caches.append(both if cache_layout == "NHD" else both.transpose(2, 3))
    return [both[:, 0] for both in caches], [both[:, 1] for both in caches]


def _random_cache(
    shape: tuple[int, ...],
    cache_dtype: str | torch.dtype | None,
    dtype: torch.dtype,
    head_size: int,
    device: str | None,
) -> Tensor:
    """Bytes stand for the 8-bit floats of `cache_dtype`."""
    wide = torch.float32 if dtype.itemsize == 1 else dtype
    limit = head_size**-0.5
    values = torch.empty(shape, dtype=wide, device=device or current_platform.device_type).uniform_(-limit, limit)
    if dtype is torch.uint8:
        return values.to(_FP8.get(cache_dtype, torch.float8_e4m3fn)).view(torch.uint8)
    return values.to(dtype)
