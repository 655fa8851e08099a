"""Runs the model on one step after another."""

from collections.abc import Callable

import torch
from torch import Tensor

from vllm.attention.cache_format import CacheFormat
from vllm.config import VllmConfig
from vllm.distributed.group import Group
from vllm.exceptions import VLLMValidationError
from vllm.messages import TokenLogprobs
from vllm.models.interface import Model, Steps
from vllm.models.parts import named_parts
from vllm.sampling.sampler import Sampler
from vllm.scheduler.output import ScheduledStep, StepResult
from vllm.scheduler.request import Request
from vllm.worker import memory_profile
from vllm.worker.device_step import DeviceStep
from vllm.worker.input_batch import InputBatch
from vllm.worker.kv_cache import allocate, number_of_blocks
from vllm.worker.model_loader import DTYPES, ops_of
from vllm.worker.offload import OffloadedWeights, return_freed_memory
from vllm.worker.page_warmup import PageWarmup
from vllm.worker.wanted_rows import wanted_rows

# Rows of prompt logits that exist at once: a vocabulary of 150,000 in f32 is 0.6 MB a row.
_PROMPT_LOGPROBS_ROWS = 64

# Blocks are used from the first one on. What is beyond costs nothing until it is used.
_POPULATED_CACHE_BYTES = 1 << 30


class ModelRunner:
    """Owns the model and the KV cache. `num_blocks` is the cache's size, the same for every rank of `group`.

    `steps` computes with both, while `warmup` is held; they are made anew with every cache.
    """

    def __init__(
        self,
        config: VllmConfig,
        load: Callable[[], Model],
        group: Group,
        lead: Callable[[Steps], Steps] = lambda steps: steps,
    ):
        """`load` gives this rank's part of the model; `lead` makes of its steps what has all ranks compute theirs."""
        self._load, self._lead, self._group = load, lead, group
        self._model = load()
        self._config = config
        self._format = CacheFormat.of(config.cache_config.cache_dtype, DTYPES[config.model_config.dtype])
        self._sampler = Sampler(ops_of(config), config.model_config.logprobs_mode)
        self._offloaded: OffloadedWeights | None = None
        self._asleep: set[str] = set()
        self.num_blocks = group.smallest(self._number_of_blocks())
        self._take_cache()
        limits, block_size = config.scheduler_config, config.cache_config.block_size
        self._batch = InputBatch(
            limits.max_num_seqs, limits.max_num_batched_tokens, config.model_config.max_model_len, block_size
        )

    def _number_of_blocks(self) -> int:
        device = self._config.device_config

        def measure() -> int:
            use = memory_profile.measure(self._model, self._sampler, self._config, self._format)
            return use.left(device.memory_utilization, device.replays_steps)

        shapes = [attention.shape for attention in self._model.attentions]
        return number_of_blocks(self._config, shapes, self._format, None if device.device == "cpu" else measure)

    def _take_cache(self) -> None:
        """Takes the KV cache's memory, and what steps need beside it."""
        device, attentions = self._config.device_config, self._model.attentions
        block_size = self._config.cache_config.block_size
        caches = allocate(attentions, self.num_blocks, block_size, self._format, device)
        for attention, cache in zip(attentions, caches, strict=True):
            attention.bind(cache)
        steps: Steps = self._model
        if device.attention_backend != "CPU_ATTN":
            steps = DeviceStep(self._model, self._config, self.num_blocks)
        self.steps = self._lead(steps)
        written = [tensor for cache in caches for tensor in cache.tensors[:2]] if device.device == "cpu" else []
        self.warmup = PageWarmup(written, _POPULATED_CACHE_BYTES)
        self.warmup.start()

    @property
    def is_sleeping(self) -> bool:
        return bool(self._asleep)

    def sleep(self, level: int) -> None:
        """Gives memory back: 1: the KV cache's, and a GPU's of the weights, which the host keeps; 2: all of both.

        Nothing may run until `wake_up`.
        """
        if self._asleep:
            return
        self._asleep = {"weights", "kv_cache"}
        self.warmup.stop()
        for attention in self._model.attentions:
            attention.unbind()
        del self.steps
        if level == 2:
            self._model = None
        elif self._config.device_config.device != "cpu":
            self._offloaded = OffloadedWeights(part for _, part in named_parts(self._model) if isinstance(part, Tensor))
        return_freed_memory(self._config.device_config.device)
        self._group.smallest(0)  # every rank has given its own back

    def check_wake_up(self, parts: set[str]) -> None:
        """Raises VLLMValidationError where the cache should come before the weights."""
        if "weights" in self._asleep - parts and "kv_cache" in self._asleep & parts:
            raise VLLMValidationError("tags=['kv_cache'] is not accepted while the weights sleep: wake them first")

    def wake_up(self, parts: set[str]) -> None:
        """Takes memory again for what sleeps of `parts`: "weights", "kv_cache". Raises as `check_wake_up`."""
        self.check_wake_up(parts)
        parts = parts & self._asleep
        if "weights" in parts:
            if self._model is None:
                self._model = self._load()
            elif self._offloaded is not None:
                self._offloaded.restore()
                self._offloaded = None
        if "kv_cache" in parts:
            self._take_cache()
        self._asleep -= parts

    @torch.inference_mode()
    def run(self, step: ScheduledStep) -> StepResult:
        """Computes the step's tokens, and samples for the sequences that it completes."""
        with self.warmup.held():
            return self._run(step)

    def _run(self, step: ScheduledStep) -> StepResult:
        self._batch.release(step.released)
        sampling, prompts, wanted = wanted_rows(step)
        hidden = self.steps.forward(self._batch.build(step, wanted))
        result = StepResult(sampled=[[] for _ in step.requests])
        if sampling:
            rows = hidden[: len(sampling)]
            requests = [step.requests[i] for i in sampling]
            tokens, logprobs = self._next_tokens(rows, requests)
            for row, index in enumerate(sampling):
                result.sampled[index].append(tokens[row])
            for request, chosen in zip(step.requests, result.sampled, strict=True):
                _drop_rejected(request, chosen)
            for row, entry in logprobs.items():
                result.logprobs.setdefault(sampling[row], []).append(entry)
        start = len(sampling)
        for index, count in prompts:
            result.prompt_logprobs[index] = self._prompt_logprobs(step, index, hidden[start : start + count])
            start += count
        return result

    def _next_tokens(self, rows: Tensor, requests: list[Request]) -> tuple[list[int], dict[int, TokenLogprobs]]:
        """Of hidden states [requests, width]; as Sampler.sample."""
        if all(request.takes_likeliest for request in requests):
            likeliest = self.steps.greedy_tokens(rows)
            if likeliest is not None:
                return likeliest.tolist(), {}
        return self._sampler.sample(self.steps.logits(rows), requests)

    def _prompt_logprobs(self, step: ScheduledStep, index: int, hidden: Tensor) -> list[TokenLogprobs]:
        """hidden [count, width] of prompt tokens, each of which predicts the one after it."""
        request = step.requests[index]
        first = request.num_computed_tokens + 1
        entries: list[TokenLogprobs] = []
        for start in range(0, hidden.shape[0], _PROMPT_LOGPROBS_ROWS):
            rows = hidden[start : start + _PROMPT_LOGPROBS_ROWS]
            tokens = request.token_ids[first + start : first + start + rows.shape[0]]
            counts = [request.params.prompt_logprobs or 0] * len(tokens)
            entries += self._sampler.logprobs(self.steps.logits(rows), tokens, counts)
        return entries


def _drop_rejected(request: Request, chosen: list[int]) -> None:
    """Of the tokens that the model chose after each token of a draft, keeps those up to its first own choice."""
    for position, token in enumerate(request.draft[: len(chosen)]):
        if chosen[position] != token:
            del chosen[position + 1 :]
            return
