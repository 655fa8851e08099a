"""Tables of rotary position embedding, with the ways in which models extend their context."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vllm.exceptions import ModelError


def cos_sin_table(parameters: dict[str, Any], rotary_size: int, max_position: int, trained_length: int) -> Tensor:
    """[max_position, rotary_size] f32: cosines of the position's angles, then their sines.

    Args:
        parameters: `rope_parameters` of config.json: rope_type, rope_theta and what the type needs.
        rotary_size: how many of a head's dimensions are rotated.
        trained_length: the model's max_position_embeddings.
    """
    kind = parameters["rope_type"]
    if kind not in _TYPES:
        raise ModelError(f"rope_type {kind!r} is not supported; supported are {', '.join(_TYPES)}")
    try:
        frequencies, attention_factor = _TYPES[kind](parameters, rotary_size, max_position, trained_length)
    except KeyError as missing:
        raise ModelError(f"config.json: rope_type {kind!r} needs {missing} beside it") from None
    angles = torch.outer(torch.arange(max_position, dtype=torch.float32), frequencies)
    return torch.cat((angles.cos(), angles.sin()), dim=-1) * attention_factor


def _inverse_frequencies(theta: float, size: int) -> Tensor:
    return 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size))


def _default(p: dict[str, Any], size: int, max_position: int, trained: int) -> tuple[Tensor, float]:
    return _inverse_frequencies(p["rope_theta"], size), 1.0


def _linear(p: dict[str, Any], size: int, max_position: int, trained: int) -> tuple[Tensor, float]:
    """Position interpolation (arXiv:2306.15595)."""
    return _inverse_frequencies(p["rope_theta"], size) / p["factor"], 1.0


def _dynamic(p: dict[str, Any], size: int, max_position: int, trained: int) -> tuple[Tensor, float]:
    """NTK-aware scaling, for the longest sequence that is allowed rather than for each sequence's own length."""
    length, factor = max(max_position, trained), p["factor"]
    growth = (factor * length / trained - (factor - 1)) ** (size / (size - 2))
    return _inverse_frequencies(p["rope_theta"] * growth, size), 1.0


def _llama3(p: dict[str, Any], size: int, max_position: int, trained: int) -> tuple[Tensor, float]:
    """Long wavelengths are stretched by `factor`, short ones kept, those between blended (Llama 3.1)."""
    plain = _inverse_frequencies(p["rope_theta"], size)
    low, high, original = p["low_freq_factor"], p["high_freq_factor"], p["original_max_position_embeddings"]
    blend = (original * plain / (2 * math.pi) - low) / (high - low)
    blend = blend.clamp(0, 1)
    return (1 - blend) * plain / p["factor"] + blend * plain, 1.0


def _yarn(p: dict[str, Any], size: int, max_position: int, trained: int) -> tuple[Tensor, float]:
    """YaRN (arXiv:2309.00071): interpolation by wavelength, and attention made sharper."""
    theta, factor = p["rope_theta"], p["factor"]
    original = p.get("original_max_position_embeddings") or trained

    def dimension(rotations: float) -> float:
        return size * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(p.get("beta_fast") or 32), dimension(p.get("beta_slow") or 1)
    if p.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    ramp = ((torch.arange(size // 2, dtype=torch.float32) - low) / max(high - low, 0.001)).clamp(0, 1)
    plain = _inverse_frequencies(theta, size)
    return plain / factor * ramp + plain * (1 - ramp), _yarn_attention_factor(p, factor)


def _yarn_attention_factor(p: dict[str, Any], factor: float) -> float:
    if p.get("attention_factor") is not None:
        return p["attention_factor"]

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if p.get("mscale") and p.get("mscale_all_dim"):
        return scale(p["mscale"]) / scale(p["mscale_all_dim"])
    return scale(1.0)


def _longrope(p: dict[str, Any], size: int, max_position: int, trained: int) -> tuple[Tensor, float]:
    """LongRoPE (arXiv:2402.13753): a factor a dimension, chosen by the longest sequence that is allowed."""
    original = p.get("original_max_position_embeddings") or trained
    factors = torch.tensor(p["long_factor"] if max_position > original else p["short_factor"])
    attention_factor = p.get("attention_factor")
    if attention_factor is None:
        stretch = p.get("factor") or trained / original
        attention_factor = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
    return _inverse_frequencies(p["rope_theta"], size) / factors, attention_factor


_TYPES: dict[str, Callable[[dict[str, Any], int, int, int], tuple[Tensor, float]]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
    "su": _longrope,
}
