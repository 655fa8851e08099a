"""Random numbers by counter: a sequence's draws depend on its seed and position alone, never on its batch."""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seeds: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """seeds, counters [rows] u64 to [rows] f32 in [0, 1): two rounds of SplitMix64 (Steele et al., 2014)."""
    mixed = _mix(_mix(seeds) + counters * _GOLDEN)
    return (mixed >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _mix(state: np.ndarray) -> np.ndarray:
    z = state + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
