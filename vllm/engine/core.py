"""The engine's core: one loop of schedule, run, sample. Synchronous: no threads, no sockets, no tokenizer."""

from vllm.config import VllmConfig
from vllm.engine.messages import EngineOutput, EngineRequest, EngineStats


class EngineCore:
    """Holds the model, the KV cache and the requests that run.

    Building it loads the model (seconds) and raises ModelError where the folder does not hold one that it can run.
    """

    def __init__(self, config: VllmConfig): ...

    def add_request(self, request: EngineRequest) -> None:
        """Queues one sequence. Raises VLLMValidationError where it can never fit into the KV cache."""

    def abort_requests(self, request_ids: list[str]) -> None:
        """Drops sequences and frees their blocks; unknown ids are ignored. No output is made for them."""

    def step(self) -> list[EngineOutput]:
        """Computes one batch and returns what is new, one output a sequence that has something new."""

    def has_unfinished(self) -> bool: ...

    def stats(self) -> EngineStats: ...

    def reset_prefix_cache(self) -> bool:
        """Forgets all cached prefixes; False, and nothing done, while requests hold blocks."""

    def shutdown(self) -> None:
        """Frees the model and the KV cache."""
