"""Processes that work together: starting them, and what the ranks of a model exchange."""

from vllm.distributed.cleanup import cleanup_dist_env_and_memory

__all__ = ["cleanup_dist_env_and_memory"]
