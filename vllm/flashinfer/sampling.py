"""Filters over distributions and draws from them, without sorting: the functions of ``flashinfer.sampling``.

Distributions are the rows of ``[rows, vocab]`` f32, bf16 or f16. Filters keep everything that equals the last kept
value, as the CPU's sampler does; `top_p` is a share of the weight in the row, so rows need not sum to 1. A parameter is
a number or a tensor of one value a row.

A draw is a function of its distribution, `seed` and `offset`: `deterministic` and `is_deterministic` are accepted, and
nothing depends on them. With one seed for all, sample ``i`` also depends on ``i``; with a tensor of one seed a sample
its place in the batch does not matter. Seeds and offsets as tensors (i64 or u64, one value or one a sample) are read
when the kernel runs, so a CUDA graph draws anew once they have changed. Without a seed, `generator` (default: the
device's own) gives one, inside CUDA graphs, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.flashinfer import library

Samples = Tensor | tuple[Tensor, Tensor]


def softmax(logits: Tensor, temperature: Tensor | float | None = None, enable_pdl: bool | None = None) -> Tensor:
    """``softmax(logits / temperature)``, f32; at temperature 0 the largest logits share everything."""
    out = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    each, value = _parameter(1.0 if temperature is None else temperature, torch.float32)
    library.sampling_ops().softmax.default(out, logits, each, value)
    return out


def sampling_from_logits(
    logits: Tensor, indices: Tensor | None = None, deterministic: bool = True,
    generator: torch.Generator | None = None, check_nan: bool = False, seed: Tensor | int | None = None,
    offset: Tensor | int | None = None,
) -> Tensor:  # fmt: skip
    """One token of ``softmax(logits)`` a row; see `sampling_from_probs`."""
    _check_nan(logits, "logits", check_nan)
    return _sample(logits, indices, generator, seed, offset, False, from_logits=True)


def sampling_from_probs(
    probs: Tensor, indices: Tensor | None = None, deterministic: bool = True, generator: torch.Generator | None = None,
    check_nan: bool = False, seed: Tensor | int | None = None, offset: Tensor | int | None = None,
    return_valid: bool = False,
) -> Samples:  # fmt: skip
    """One token of each row, each with the probability that it has there.

    Args:
        probs: ``[rows, vocab]``, at least 0; only what they are relative to each other matters.
        indices: i32 or i64 ``[samples]``: sample ``i`` is drawn from row ``indices[i]``. Default: from row ``i``.
        check_nan: look for NaN first, which waits for the device. Otherwise NaN is never drawn.
        seed, offset: of the random numbers; see the module's text.
        return_valid: also give ``[samples]`` bool: whether there was anything to draw. Where not, the token is 0.

    Returns:
        Tokens ``[samples]``, i32 or of the type of `indices`; with `return_valid` the pair.

    Raises:
        ImportError: the kernels are not installed.
        RuntimeError: a tensor does not fit.
        ValueError: there is NaN, and `check_nan`.
    """
    _check_nan(probs, "probs", check_nan)
    return _sample(probs, indices, generator, seed, offset, return_valid)


def top_p_sampling_from_probs(
    probs: Tensor, top_p: Tensor | float, indices: Tensor | None = None, deterministic: bool = True,
    generator: torch.Generator | None = None, check_nan: bool = False, seed: Tensor | int | None = None,
    offset: Tensor | int | None = None, return_valid: bool = False,
) -> Samples:  # fmt: skip
    """As `sampling_from_probs`, from the likeliest tokens that together have `top_p` of a row."""
    _check_nan(probs, "probs", check_nan)
    return _sample(probs, indices, generator, seed, offset, return_valid, top_p=top_p)


def top_k_sampling_from_probs(
    probs: Tensor, top_k: Tensor | int, indices: Tensor | None = None, deterministic: bool = True,
    generator: torch.Generator | None = None, check_nan: bool = False, seed: Tensor | int | None = None,
    offset: Tensor | int | None = None, return_valid: bool = False,
) -> Samples:  # fmt: skip
    """As `sampling_from_probs`, from the `top_k` likeliest tokens; 0 keeps all."""
    _check_nan(probs, "probs", check_nan)
    return _sample(probs, indices, generator, seed, offset, return_valid, top_k=top_k)


def min_p_sampling_from_probs(
    probs: Tensor, min_p: Tensor | float, indices: Tensor | None = None, deterministic: bool = True,
    generator: torch.Generator | None = None, check_nan: bool = False, seed: Tensor | int | None = None,
    offset: Tensor | int | None = None, return_valid: bool = False,
) -> Samples:  # fmt: skip
    """As `sampling_from_probs`, from tokens at least `min_p` times as likely as the likeliest (Nguyen et al., 2024)."""
    _check_nan(probs, "probs", check_nan)
    return _sample(probs, indices, generator, seed, offset, return_valid, min_p=min_p)


def top_k_top_p_sampling_from_probs(
    probs: Tensor, top_k: Tensor | int, top_p: Tensor | float, indices: Tensor | None = None,
    filter_apply_order: str = "top_k_first", deterministic: bool = True, generator: torch.Generator | None = None,
    check_nan: bool = False, seed: Tensor | int | None = None, offset: Tensor | int | None = None,
    return_valid: bool = False,
) -> Samples:  # fmt: skip
    """As `sampling_from_probs`, through both filters.

    `top_p` is a share of what `top_k` leaves (``filter_apply_order="top_k_first"``) or of the whole row (``"joint"``).
    """
    _check_nan(probs, "probs", check_nan)
    joint = _is_joint(filter_apply_order)
    return _sample(probs, indices, generator, seed, offset, return_valid, joint=joint, top_k=top_k, top_p=top_p)


def top_k_top_p_sampling_from_logits(
    logits: Tensor, top_k: Tensor | int, top_p: Tensor | float, indices: Tensor | None = None,
    filter_apply_order: str = "top_k_first", deterministic: bool = True, generator: torch.Generator | None = None,
    check_nan: bool = False, seed: Tensor | int | None = None, offset: Tensor | int | None = None,
) -> Tensor:  # fmt: skip
    """As `top_k_top_p_sampling_from_probs` of ``softmax(logits)``, which is never written anywhere."""
    _check_nan(logits, "logits", check_nan)
    joint = _is_joint(filter_apply_order)
    filters = {"joint": joint, "top_k": top_k, "top_p": top_p}
    return _sample(logits, indices, generator, seed, offset, False, from_logits=True, **filters)


def top_p_renorm_probs(probs: Tensor, top_p: Tensor | float, is_deterministic: bool = False) -> Tensor:
    """The likeliest tokens that together have `top_p` of a row, scaled to sum to 1; 0 for the others."""
    out = torch.empty(probs.shape, dtype=probs.dtype, device=probs.device)
    library.sampling_ops().top_p_renorm_probs.default(out, probs, *_parameter(top_p, torch.float32))
    return out


def top_k_renorm_probs(probs: Tensor, top_k: Tensor | int, is_deterministic: bool = False) -> Tensor:
    """The `top_k` likeliest tokens of a row, scaled to sum to 1; 0 for the others."""
    out = torch.empty(probs.shape, dtype=probs.dtype, device=probs.device)
    library.sampling_ops().top_k_renorm_probs.default(out, probs, *_parameter(top_k, torch.int32))
    return out


def top_k_mask_logits(logits: Tensor, top_k: Tensor | int) -> Tensor:
    """The `top_k` largest logits of a row; -inf for the others."""
    out = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    library.sampling_ops().top_k_mask_logits.default(out, logits, *_parameter(top_k, torch.int32))
    return out


top_p_renorm_prob = top_p_renorm_probs
top_k_renorm_prob = top_k_renorm_probs


def _sample(
    values: Tensor, indices: Tensor | None, generator: torch.Generator | None, seed: Tensor | int | None,
    offset: Tensor | int | None, return_valid: bool, *, from_logits: bool = False, joint: bool = False,
    top_k: Tensor | int = 0, top_p: Tensor | float = 1.0, min_p: Tensor | float = 0.0,
) -> Samples:  # fmt: skip
    like = {"device": values.device}
    if seed is None:
        seed = torch.randint(2**63 - 1, (1,), generator=generator, **like)
    count = values.shape[0] if indices is None else indices.shape[0]
    samples = torch.empty(count, dtype=torch.int32 if indices is None else indices.dtype, **like)
    valid = torch.empty(count, dtype=torch.bool, **like) if return_valid else None
    library.sampling_ops().sample.default(
        values, samples, valid, indices, from_logits, joint,
        *_parameter(top_k, torch.int32), *_parameter(top_p, torch.float32), *_parameter(min_p, torch.float32),
        *_bits(seed), *_bits(0 if offset is None else offset),
    )  # fmt: skip
    return samples if valid is None else (samples, valid)


def _parameter(value: Tensor | float, dtype: torch.dtype) -> tuple[Tensor | None, float]:
    """A tensor and an unused number, or a number alone."""
    return (value.to(dtype), 0) if isinstance(value, Tensor) else (None, value)


def _bits(value: Tensor | int) -> tuple[Tensor | None, int]:
    """As `_parameter`; 64 bits as a signed number."""
    if isinstance(value, Tensor):
        return value.view(torch.int64) if value.dtype == torch.uint64 else value, 0
    return None, (value + 2**63) % 2**64 - 2**63


def _is_joint(filter_apply_order: str) -> bool:
    if filter_apply_order not in ("top_k_first", "joint"):
        raise ValueError(f"filter_apply_order is {filter_apply_order!r}, expected 'top_k_first' or 'joint'")
    return filter_apply_order == "joint"


def _check_nan(values: Tensor, name: str, wanted: bool) -> None:
    if wanted and bool(values.isnan().any()):
        raise ValueError(f"{name} contains NaN")
