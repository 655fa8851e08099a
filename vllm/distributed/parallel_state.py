"""The groups of ranks, as programs for upstream end them: here each engine ends its own."""

from vllm.distributed.cleanup import cleanup_dist_env_and_memory

__all__ = ["cleanup_dist_env_and_memory", "destroy_distributed_environment", "destroy_model_parallel"]


def destroy_model_parallel() -> None:
    """Nothing to do: a program's own process belongs to no group of ranks, and groups end with their engine."""


def destroy_distributed_environment() -> None:
    """Nothing to do, as destroy_model_parallel."""
