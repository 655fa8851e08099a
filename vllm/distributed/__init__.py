"""Processes that work together: starting them, and what the ranks of a model exchange."""

from vllm.distributed.cleanup import cleanup_dist_env_and_memory
from vllm.distributed.parallel_state import destroy_distributed_environment, destroy_model_parallel

__all__ = ["cleanup_dist_env_and_memory", "destroy_distributed_environment", "destroy_model_parallel"]
