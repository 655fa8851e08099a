"""Scales of an fp8 KV cache that a checkpoint was calibrated for."""

import math

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError

# As compressed-tensors and FP8 checkpoints name them, as ModelOpt does, and as older tools did.
_NAMES = (
    "{attention}.{which}_scale",
    "{attention}.{which}_proj.{which}_scale",
    "{attention}.{which}_proj.output_scale",
)
_OF_BOTH = "{attention}.kv_scale"
# Of queries and probabilities, which stay in floating point here.
_UNNEEDED = ("q_scale", "prob_scale")


def take_kv_scales(checkpoint: Checkpoint, attention: str) -> tuple[float, float]:
    """What keys and values of the layer `attention` are divided by; 1 where the checkpoint does not say."""
    for name in _UNNEEDED:
        if checkpoint.has(f"{attention}.{name}"):
            checkpoint.take_stored(f"{attention}.{name}")
    both = _take(checkpoint, _OF_BOTH.format(attention=attention), 1.0)
    keys, values = both, both
    for name in _NAMES:
        keys = _take(checkpoint, name.format(attention=attention, which="k"), keys)
        values = _take(checkpoint, name.format(attention=attention, which="v"), values)
    return keys, values


def _take(checkpoint: Checkpoint, name: str, default: float) -> float:
    if not checkpoint.has(name):
        return default
    stored = checkpoint.take_stored(name)
    scale = stored.float().item() if stored.numel() == 1 else math.nan
    if not 0 < scale < math.inf:
        shape = list(stored.shape)
        raise ModelError(f"weight {name!r} of shape {shape} must be one positive number: the scale of the KV cache")
    return scale
