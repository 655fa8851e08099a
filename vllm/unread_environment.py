"""Environment variables that are named like vLLM's but that nothing reads: of other versions, or misspelt."""

import difflib
import functools
import logging
import os

from vllm import envs

# What builds and tests read, and may be set where a model is served from the same shell.
READ_ELSEWHERE = frozenset(
    """
    VLLM_TARGET_DEVICE VLLM_CPU_BASELINE VLLM_CPU_DISABLE_AVX512 VLLM_CPU_AVX512BF16 VLLM_CPU_AVX512VNNI
    VLLM_CPU_AVXVNNI VLLM_CPU_AMXBF16 VLLM_CUTLASS_SRC_DIR VLLM_MAIN_CUDA_VERSION VLLM_PRECOMPILED_WHEEL_LOCATION
    VLLM_USE_PRECOMPILED VLLM_VERSION_OVERRIDE VLLM_RECIPES_CHANNEL VLLM_RECIPES_HOME VLLM_RECIPES_TOKEN
    VLLM_CROSS_ISA VLLM_CROSS_PYTHON VLLM_CROSS_RUNNER VLLM_DEVICE_REPORT VLLM_DEVICE_TESTS VLLM_GPU_TESTS_DEVICE
    VLLM_TEST_LANES
    """.split()
)

# Of difflib: high, as all of these names begin alike.
_SIMILARITY = 0.8

logger = logging.getLogger(__name__)


@functools.cache
def warn_of_unread_variables() -> None:
    """Logs a warning that names them, the first time that this process asks."""
    unread = {name for name in os.environ if name.startswith("VLLM_")} - READ_ELSEWHERE - set(dir(envs))
    if unread:
        logger.warning("environment variables without effect here: %s", ", ".join(map(_described, sorted(unread))))


def _described(name: str) -> str:
    close = difflib.get_close_matches(name, dir(envs), 1, _SIMILARITY)
    return f"{name} (did you mean {close[0]}?)" if close else name
