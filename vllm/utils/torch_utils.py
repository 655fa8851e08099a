"""Upstream's helpers around torch that programs import."""

from vllm.platforms import current_platform


def set_random_seed(seed: int | None) -> None:
    """Of Python's, numpy's and torch's generators, which the engine does not draw from: SamplingParams has its seed."""
    current_platform.seed_everything(seed)
