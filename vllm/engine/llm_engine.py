"""The engine for one process: text in, text out, a step at a time."""

from collections.abc import Mapping
from typing import Any

from vllm.config import CacheConfig, ModelConfig, VllmConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.engine.core import EngineCore
from vllm.engine.input_processor import InputProcessor
from vllm.engine.metrics import EngineMetrics
from vllm.engine.output_processor import OutputProcessor
from vllm.inputs import PromptType
from vllm.messages import EngineStats
from vllm.metrics import Metric
from vllm.not_offered import refuse_given
from vllm.outputs import RequestOutput
from vllm.sampling_params import SamplingParams
from vllm.tokenizer import Tokenizer
from vllm.tokenizer_options import adds_special_tokens


class LLMEngine:
    """Add requests, call step() until has_unfinished_requests() is False."""

    def __init__(self, config: VllmConfig):
        self.config = config
        model = config.model_config
        self.tokenizer = None if model.skip_tokenizer_init else Tokenizer(model.tokenizer_folder, model.tokenizer)
        self._input = InputProcessor(config, self.tokenizer)
        self._output = OutputProcessor(self.tokenizer)
        self._metrics = EngineMetrics(model.served_model_name[0], model.max_model_len)
        self._core = EngineCore(config)

    @classmethod
    def from_vllm_config(
        cls,
        vllm_config: VllmConfig,
        usage_context: Any = None,
        stat_loggers: None = None,
        disable_log_stats: bool = False,
    ) -> "LLMEngine":
        """Nobody is told of usage, and this engine logs no statistics: see get_metrics."""
        refuse_given(stat_loggers=stat_loggers)
        return cls(vllm_config)

    @classmethod
    def from_engine_args(
        cls,
        engine_args: EngineArgs,
        usage_context: Any = None,
        stat_loggers: None = None,
        enable_multiprocessing: bool = False,
    ) -> "LLMEngine":
        """As from_vllm_config. The core is in this process, whatever `enable_multiprocessing`; AsyncLLM's is not."""
        refuse_given(stat_loggers=stat_loggers)  # before a model is downloaded
        return cls.from_vllm_config(engine_args.create_engine_config(usage_context))

    def add_request(
        self,
        request_id: str,
        prompt: PromptType,
        params: SamplingParams,
        arrival_time: float | None = None,
        lora_request: None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        trace_headers: Mapping[str, str] | None = None,
        priority: int = 0,
        *,
        add_special_tokens: bool = True,
    ) -> str:
        """Queues a prompt, and returns its id.

        Raises VLLMValidationError, and queues nothing, where it is refused, and TypeError for an id that is no text.
        """
        if not isinstance(request_id, str):
            raise TypeError(f"request_id must be a string, got {type(request_id)}")
        refuse_given(lora_request=lora_request, trace_headers=trace_headers)
        request = self._input.process(
            request_id,
            prompt,
            params,
            arrival_time=arrival_time,
            priority=priority,
            add_special_tokens=adds_special_tokens(tokenization_kwargs, add_special_tokens),
        )
        self._output.add_request(request)
        try:
            for each in request.engine_requests:
                self._core.add_request(each)
        except ValueError:
            self.abort_request([request_id])
            raise
        return request_id

    def step(self) -> list[RequestOutput]:
        """Computes one batch; outputs of requests that have something new."""
        processed = self._output.process(self._core.step())
        self._metrics.observe(processed)
        if processed.requests_to_abort:
            self._core.abort_requests(processed.requests_to_abort)
        return processed.request_outputs

    @property
    def vllm_config(self) -> VllmConfig:
        return self.config

    @property
    def model_config(self) -> ModelConfig:
        return self.config.model_config

    @property
    def cache_config(self) -> CacheConfig:
        return self.config.cache_config

    def get_tokenizer(self) -> Tokenizer | None:
        return self.tokenizer

    def get_num_unfinished_requests(self) -> int:
        return self._output.num_unfinished

    def has_unfinished_requests(self) -> bool:
        return self._output.num_unfinished > 0

    def abort_request(self, request_ids: list[str], internal: bool = False) -> None:
        """Drops requests; unknown ids are ignored. No output is made for them.

        `internal` has no effect: the ids that add_request returns are the user's.
        """
        self._core.abort_requests(self._output.abort_requests(request_ids))

    def get_supported_tasks(self) -> tuple[str, ...]:
        return ("generate",)

    def do_log_stats(self) -> None:
        """Nothing to do: see get_metrics."""

    def stats(self) -> EngineStats:
        return self._core.stats()

    def get_metrics(self) -> list[Metric]:
        """What was counted and measured from the engine's start."""
        return list(self._metrics.snapshot(self.stats()))

    def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        """As EngineCore.reset_prefix_cache; there is no connector to reset."""
        return self._core.reset_prefix_cache(reset_running_requests)

    def sleep(self, level: int = 1) -> None:
        """As EngineCore.sleep."""
        self._core.sleep(level)

    def wake_up(self, tags: list[str] | None = None) -> None:
        """As EngineCore.wake_up."""
        self._core.wake_up(tags)

    def is_sleeping(self) -> bool:
        return self._core.is_sleeping()

    def shutdown(self) -> None:
        self._core.shutdown()
