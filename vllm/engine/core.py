"""The engine's core: one loop of schedule, run, sample. Synchronous: no threads, no sockets, no tokenizer."""

import logging
from typing import TYPE_CHECKING

from vllm.config import VllmConfig
from vllm.exceptions import EngineDeadError, VLLMValidationError
from vllm.executor.workers import Workers
from vllm.interrupts import interrupts_deferred
from vllm.kvcache.manager import KVCacheManager
from vllm.messages import EngineOutput, EngineRequest, EngineStats
from vllm.platforms import current_platform
from vllm.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from vllm.worker.runner import ModelRunner

_log = logging.getLogger(__name__)
SLEEPING_PARTS = ("weights", "kv_cache")  # what wake_up can be told to take back


class EngineCore:
    """Holds the model, the KV cache and the requests that run.

    Building it loads the model (seconds). Raises ModelError where the folder does not hold one that it can run,
    VLLMValidationError where the KV cache has no room for a single block.
    """

    def __init__(self, config: VllmConfig, own_process: bool = False):
        """`own_process`: nothing else runs in this process."""
        ranks = config.parallel_config.tensor_parallel_size
        # Before this process is bound to its CPUs: the others would inherit that.
        self._workers = Workers(config) if ranks > 1 else None
        current_platform.prepare(own_process, ranks=ranks)
        self._may_sleep = config.enable_sleep_mode
        cache = config.cache_config
        self._runner: ModelRunner | None = self._load(config)
        self._kv_cache = KVCacheManager(self._runner.num_blocks, cache.block_size, cache.enable_prefix_caching)
        config.model_config.fit_max_model_len(self._kv_cache.num_tokens)
        max_model_len = config.model_config.max_model_len
        if self._kv_cache.num_tokens < max_model_len:
            _log.warning(
                "The KV cache holds %d tokens, less than max_model_len=%d: longer requests are refused. "
                "Set VLLM_CPU_KVCACHE_SPACE (GiB; on a GPU gpu_memory_utilization) higher or max_model_len lower.",
                self._kv_cache.num_tokens,
                max_model_len,
            )
        self._unreported: list[EngineOutput] = []  # of a step whose end an interrupt took
        self._scheduler = Scheduler(config.scheduler_config, self._kv_cache, max_model_len, config.speculative_config)

    def _load(self, config: VllmConfig) -> "ModelRunner":
        if self._workers is None:
            from vllm.executor.rank import single_rank_runner

            return single_rank_runner(config)
        from vllm.executor.parallel_model import parallel_runner

        return parallel_runner(config, self._workers)

    def add_request(self, request: EngineRequest) -> None:
        """Queues one sequence. Raises VLLMValidationError where it can never fit into the KV cache."""
        if request.sampling_params.n != 1:
            raise VLLMValidationError("n must be 1 here: the input processor makes n requests", "n")
        if self._runner is None:
            raise EngineDeadError("the engine was shut down: make another")
        if self._runner.is_sleeping:
            raise VLLMValidationError("the engine sleeps: wake it up first (LLM.wake_up, POST /wake_up)")
        self._scheduler.add_request(request)

    def abort_requests(self, request_ids: list[str]) -> None:
        """Drops sequences and frees their blocks; unknown ids are ignored. No output is made for them."""
        self._scheduler.abort(request_ids)

    def step(self) -> list[EngineOutput]:
        """Computes one batch and returns what is new, one output a sequence that has something new.

        What an error or an interrupt keeps it from computing the next step computes.
        """
        if self._scheduler.has_unfinished():
            self._compute_batch()
        outputs, self._unreported = self._unreported, []
        return outputs

    def _compute_batch(self) -> None:
        released: list[str] = []
        try:
            with interrupts_deferred():
                step = self._scheduler.schedule()
                released = step.released
            result = self._runner.run(step)
        except BaseException:  # also Ctrl-C, which comes between two layers
            self._scheduler.restart(released)
            raise
        with interrupts_deferred():
            self._unreported += self._scheduler.update(step, result)

    def has_unfinished(self) -> bool:
        return self._scheduler.has_unfinished() or bool(self._unreported)

    def stats(self) -> EngineStats:
        return self._scheduler.stats()

    def reset_prefix_cache(self, reset_running_requests: bool = False) -> bool:
        """Forgets all cached prefixes; False, and nothing done, while requests hold blocks.

        With `reset_running_requests` these give their blocks up, and are computed from their beginning again.
        """
        if reset_running_requests:
            self._scheduler.restart([])
        return self._kv_cache.reset()

    def sleep(self, level: int = 1) -> bool:
        """Gives back the KV cache's memory and a GPU's of the weights (1), or all of both (2), until `wake_up`.

        Raises VLLMValidationError for another level, without --enable-sleep-mode, and while requests run.
        """
        if not self._may_sleep:
            raise VLLMValidationError("sleep is not accepted: start the engine with enable_sleep_mode")
        if level not in (1, 2):
            raise VLLMValidationError(f"level={level!r} is not accepted: give 1 or 2", "level")
        if self.has_unfinished() or not self._kv_cache.reset():
            raise VLLMValidationError("sleep is not accepted while requests run: wait for them, or abort them")
        self._runner.sleep(level)
        return True

    def wake_up(self, tags: list[str] | None = None) -> bool:
        """Undoes `sleep`, of "weights" and "kv_cache" those that `tags` names; all, where it is None."""
        parts = set(SLEEPING_PARTS if tags is None else tags)
        if unknown := sorted(parts - set(SLEEPING_PARTS)):
            accepted = " or ".join(SLEEPING_PARTS)
            raise VLLMValidationError(f"tags={unknown!r} is not accepted: give {accepted}, or none for all", "tags")
        self._runner.wake_up(parts)
        return True

    def is_sleeping(self) -> bool:
        return self._runner.is_sleeping

    def shutdown(self) -> None:
        """Frees the model and the KV cache; the core cannot be used afterwards."""
        self._runner = None
        if self._workers is not None:
            self._workers.close()
