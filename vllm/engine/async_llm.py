"""The engine for asyncio programs: prompts in, streams of outputs out; the core runs in a process of its own."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vllm.config import ModelConfig, VllmConfig
from vllm.engine import wire
from vllm.engine.client import CoreClient
from vllm.engine.core_child import CoreProcess
from vllm.engine.input_processor import InputProcessor, ProcessedInput
from vllm.engine.off_the_loop import off_the_loop
from vllm.engine.output_processor import OutputProcessor, ProcessedOutputs
from vllm.engine.request_stream import RequestStream
from vllm.exceptions import EngineDeadError, NotOfferedError, VLLMValidationError
from vllm.inputs import PromptType
from vllm.messages import EngineStats
from vllm.not_offered import refuse_given
from vllm.outputs import RequestOutput
from vllm.sampling_params import SamplingParams
from vllm.tokenizer import Tokenizer
from vllm.tokenizer_options import adds_special_tokens

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs


class AsyncLLM:
    """An engine for one event loop.

    Attributes:
        stats: the core's state after its last step.
        kv_cache_tokens: how many tokens fit into the KV cache.
        sleep_level: how deep the engine sleeps, as `sleep` takes it; 0 while it is awake, all of it.
        output_processor: holds what is open.
        observers: called with what each step gave (ProcessedOutputs), for metrics.
        on_give_up: called with the cause when the engine has died for good.
    """

    def __init__(self, config: VllmConfig, core: CoreProcess | None = None):
        """Drives `core`, or starts one; `wait_ready` must return before the first request."""
        self.config = config
        self.stats = EngineStats()
        self.kv_cache_tokens = 0
        self.sleep_level = 0
        self.observers: list[Callable[[ProcessedOutputs], None]] = []
        self.on_give_up: Callable[[str], None] = lambda cause: None
        self._streams: dict[str, RequestStream] = {}
        self._attached: asyncio.Future | None = None
        self._client = CoreClient(
            config,
            core or CoreProcess(config),
            on_step=self._on_step,
            on_rejected=self._on_rejected,
            on_death=self._on_death,
            on_give_up=lambda cause: self.on_give_up(cause),
        )
        try:
            model = config.model_config
            self.tokenizer = None if model.skip_tokenizer_init else Tokenizer(model.tokenizer_folder, model.tokenizer)
            self._inputs = InputProcessor(config, self.tokenizer)
            self.output_processor = OutputProcessor(self.tokenizer)
        except BaseException:
            self._client.close()
            raise

    @classmethod
    def from_vllm_config(
        cls,
        vllm_config: VllmConfig,
        start_engine_loop: bool = True,
        usage_context: Any = None,
        stat_loggers: None = None,
    ) -> "AsyncLLM":
        """Starts an engine and waits until it is ready. Raises ModelError or EngineDeadError.

        `start_engine_loop` and `usage_context` have no effect: the first request starts the loop, and nobody is told
        of usage.
        """
        refuse_given(stat_loggers=stat_loggers)
        llm = cls(vllm_config)
        try:
            llm.wait_ready()
        except BaseException:
            llm.shutdown()
            raise
        return llm

    @classmethod
    def from_engine_args(
        cls,
        engine_args: "AsyncEngineArgs",
        start_engine_loop: bool = True,
        usage_context: Any = None,
        stat_loggers: None = None,
    ) -> "AsyncLLM":
        """As from_vllm_config, from arguments; raises VLLMValidationError for bad ones."""
        refuse_given(stat_loggers=stat_loggers)  # before a model is downloaded
        return cls.from_vllm_config(engine_args.create_engine_config(usage_context))

    def wait_ready(self) -> wire.Ready:
        """Blocks until the model is loaded. Raises ModelError or EngineDeadError."""
        ready = self._client.wait_ready()
        self.kv_cache_tokens = self.stats.kv_cache_tokens = ready.kv_cache_tokens
        self.model_config.fit_max_model_len(ready.kv_cache_tokens)
        return ready

    async def attach(self) -> None:
        """Binds the engine to the running event loop; the first request does so, too.

        Raises VLLMValidationError in any other loop.
        """
        loop = asyncio.get_running_loop()
        if self._attached is None or _has_failed(self._attached):
            self._attached = loop.create_task(self._client.attach())
        elif self._attached.get_loop() is not loop:
            raise VLLMValidationError(
                "an AsyncLLM belongs to the event loop of its first request, and this is another one: "
                "keep to one loop (one asyncio.run), or make an engine for each"
            )
        # Many requests wait for it: one that is cancelled must not take it away from the others.
        await asyncio.shield(self._attached)

    # Requests

    async def prepare(
        self,
        request_id: str,
        prompt: PromptType,
        sampling_params: SamplingParams,
        *,
        priority: int = 0,
        add_special_tokens: bool = True,
    ) -> ProcessedInput:
        """Tokenizes and checks a request. Raises VLLMValidationError."""
        process = functools.partial(
            self._inputs.process,
            request_id,
            prompt,
            sampling_params,
            priority=priority,
            add_special_tokens=add_special_tokens,
        )
        return await off_the_loop(process, _text_length(prompt))

    async def submit(self, requests: list[ProcessedInput]) -> RequestStream:
        """Hands requests to the core.

        Raises:
            VLLMValidationError: a request id is in use.
            EngineDeadError: there is no core now; the message says why.
        """
        await self.attach()
        await self.check_health()
        stream = RequestStream(requests, on_close=self.forget)
        try:
            for request in requests:
                self.output_processor.add_request(request)
                self._streams[request.request_id] = stream
            for request in requests:
                self._client.add(request.engine_requests)
        except BaseException:
            self.forget(stream)
            raise
        return stream

    async def generate(
        self,
        prompt: PromptType,
        sampling_params: SamplingParams,
        request_id: str,
        *,
        lora_request: None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        trace_headers: Mapping[str, str] | None = None,
        priority: int = 0,
        data_parallel_rank: int | None = None,
    ) -> AsyncGenerator[RequestOutput, None]:
        """Yields outputs as `sampling_params.output_kind` asks; closing the generator aborts the request.

        Raises:
            VLLMValidationError: the request is at fault.
            EngineDeadError: the core died; the message says why.
        """
        refuse_given(lora_request=lora_request, trace_headers=trace_headers)
        if data_parallel_rank:
            raise NotOfferedError(
                f"data_parallel_rank={data_parallel_rank!r} is not offered: there is one engine, give None or 0",
                "data_parallel_rank",
            )
        special = adds_special_tokens(tokenization_kwargs)
        request = await self.prepare(request_id, prompt, sampling_params, priority=priority, add_special_tokens=special)
        stream = await self.submit([request])
        try:
            while not stream.finished:
                for output in await stream.get():
                    yield output
        finally:
            stream.close()

    async def encode(self, *args, **kwargs):
        raise NotOfferedError("encode is not offered: this version generates text only, it has no pooling models")

    async def abort(self, request_id: str | Iterable[str], internal: bool = False) -> None:
        """Ends requests: the last output that their readers get has finish_reason "abort". Unknown ids are ignored.

        `internal` has no effect: ids are the user's.
        """
        ids = [request_id] if isinstance(request_id, str) else list(request_id)
        ended = self.output_processor.finish_aborted(ids)
        self._client.abort(ended.requests_to_abort)
        for output in ended.request_outputs:
            self._deliver(output)

    def forget(self, stream: RequestStream) -> None:
        """Drops requests that nobody listens to any more."""
        ids = [r.request_id for r in stream.requests if self._streams.get(r.request_id) is stream]
        for request_id in ids:
            del self._streams[request_id]
        if ids:
            self._client.abort(self.output_processor.abort_requests(ids))

    # State

    @property
    def num_open_requests(self) -> int:
        return len(self._streams)

    def get_num_unfinished_requests(self) -> int:
        return self.output_processor.num_unfinished

    @property
    def core_pid(self) -> int:
        return self._client.core_pid

    @property
    def is_running(self) -> bool:
        return self._client.cause is None

    @property
    def is_stopped(self) -> bool:
        return self._client.is_dead

    @property
    def errored(self) -> bool:
        return not self.is_running

    @property
    def dead_error(self) -> EngineDeadError:
        return EngineDeadError(self._client.cause or "the engine runs")

    async def check_health(self) -> None:
        """Raises EngineDeadError with the cause while there is no core that takes requests."""
        if self.errored:
            raise self.dead_error

    @property
    def vllm_config(self) -> VllmConfig:
        return self.config

    @property
    def model_config(self) -> ModelConfig:
        return self.config.model_config

    def get_tokenizer(self) -> Tokenizer | None:
        return self.tokenizer

    async def get_vllm_config(self) -> VllmConfig:
        return self.config

    async def is_tracing_enabled(self) -> bool:
        return False

    async def do_log_stats(self) -> None:
        """Nothing to do: the server logs on its own."""

    async def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        """As EngineCore.reset_prefix_cache; there is no connector to reset."""
        await self.attach()
        return await self._client.call("reset_prefix_cache", reset_running_requests)

    async def sleep(self, level: int = 1) -> None:
        """As EngineCore.sleep."""
        await self.attach()
        await self._client.call("sleep", level)
        self.sleep_level = level

    async def wake_up(self, tags: list[str] | None = None) -> None:
        """As EngineCore.wake_up."""
        await self.attach()
        await self._client.call("wake_up", tags)
        if not await self.is_sleeping():
            self.sleep_level = 0

    async def is_sleeping(self) -> bool:
        await self.attach()
        return await self._client.call("is_sleeping")

    def shutdown(self) -> None:
        """Ends the core process and every open request."""
        self._fail_streams("the engine was shut down")
        self._client.close()

    # What the core says

    def _on_step(self, step: wire.Step) -> None:
        self.stats = step.stats
        if not step.outputs:
            return
        processed = self.output_processor.process(step.outputs)
        self._client.abort(processed.requests_to_abort)
        for output in processed.request_outputs:
            self._deliver(output)
        for observe in self.observers:
            observe(processed)

    def _deliver(self, output: RequestOutput) -> None:
        stream = self._streams.get(output.request_id)
        if stream is None:
            return
        if output.finished:
            del self._streams[output.request_id]
        if output.error is None:
            stream.put(output)
        else:
            stream.fail(EngineDeadError(output.error))
            self.forget(stream)

    def _on_rejected(self, rejected: wire.Rejected) -> None:
        for stream in set(self._streams.values()):
            parts = (part for request in stream.requests for part in request.engine_requests)
            if any(part.request_id == rejected.request_id for part in parts):
                stream.fail(VLLMValidationError(rejected.message, rejected.parameter))
                self.forget(stream)

    def _on_death(self, cause: str) -> None:
        self.stats = EngineStats(kv_cache_tokens=self.kv_cache_tokens)
        self.sleep_level = 0  # the next core is awake
        self._fail_streams(cause)

    def _fail_streams(self, cause: str) -> None:
        self.output_processor.abort_requests(list(self._streams))
        streams = set(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.fail(EngineDeadError(cause))


def _has_failed(future: asyncio.Future) -> bool:
    return future.cancelled() or (future.done() and future.exception() is not None)


def _text_length(prompt: PromptType) -> int:
    text = prompt.get("prompt", "") if isinstance(prompt, dict) else prompt
    return len(text) if isinstance(text, str) else 0
