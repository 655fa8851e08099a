"""What is left to free once a program has dropped its engines."""

import gc
import sys


def cleanup_dist_env_and_memory(shutdown_ray: bool = False) -> None:
    """Frees engines that nobody refers to, whose processes end with them, and gives a GPU's unused memory back.

    An engine that is still referred to keeps running. `shutdown_ray` has no effect: engines start no Ray.
    """
    gc.collect()
    torch = sys.modules.get("torch")  # without it, nothing has taken memory of a GPU
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
