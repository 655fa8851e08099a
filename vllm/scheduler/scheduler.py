"""Continuous batching: every step computes the next tokens of running sequences and admits waiting ones."""

import time

from vllm.config import SchedulerConfig, SpeculativeConfig
from vllm.exceptions import PromptTooLongError, VLLMValidationError
from vllm.kvcache.manager import KVCacheManager
from vllm.messages import EngineOutput, EngineRequest, EngineStats
from vllm.scheduler.output import ScheduledStep, StepResult
from vllm.scheduler.prompt_lookup import PromptLookup
from vllm.scheduler.queue import RequestQueue
from vllm.scheduler.request import Request


class Scheduler:
    """Decides which sequences compute how many tokens, within a budget of tokens, sequences and blocks.

    Prefill and decode are one thing here: a sequence computes the tokens that it has but whose keys and values it
    has not. Where blocks run out, the sequence that would be served last gives up all of its blocks and is computed
    again later (preemption by recomputation).
    """

    def __init__(
        self,
        config: SchedulerConfig,
        kv_cache: KVCacheManager,
        max_model_len: int,
        speculative: SpeculativeConfig | None = None,
    ):
        self._config = config
        self._speculative = speculative
        self._kv_cache = kv_cache
        self._max_len = min(max_model_len, kv_cache.num_tokens)
        self._waiting = RequestQueue(config.policy)
        self._running: list[Request] = []  # in the order in which they are served
        self._requests: dict[str, Request] = {}
        self._released: list[str] = []
        self._num_added = 0
        self._stats = EngineStats(
            kv_cache_tokens=kv_cache.num_tokens,
            num_accepted_at=[0] * (speculative.num_speculative_tokens if speculative else 0),
        )

    def add_request(self, request: EngineRequest) -> None:
        """Raises PromptTooLongError where the prompt can never fit into the KV cache."""
        if request.request_id in self._requests:
            raise VLLMValidationError(f"request_id {request.request_id!r} is in use: give another", "request_id")
        prompt_tokens = len(request.prompt_token_ids)
        if prompt_tokens >= self._max_len:
            advice = "give the KV cache more memory (VLLM_CPU_KVCACHE_SPACE)"
            raise PromptTooLongError(prompt_tokens, self._max_len, "the KV cache's size", advice)
        added = Request(request, self._num_added, self._max_len)
        self._num_added += 1
        if self._speculative is not None and added.allows_drafts:
            added.lookup = PromptLookup(self._speculative)
        self._requests[request.request_id] = added
        self._waiting.push(added)

    def abort(self, request_ids: list[str]) -> None:
        """Drops sequences, running or waiting; unknown ids are ignored."""
        for request in [self._requests[i] for i in request_ids if i in self._requests]:
            if request.is_running:
                self._running.remove(request)
            else:
                self._waiting.remove(request)
            self._forget(request)

    def has_unfinished(self) -> bool:
        return bool(self._requests)

    def stats(self) -> EngineStats:
        self._stats.num_running = len(self._running)
        self._stats.num_waiting = len(self._waiting)
        self._stats.kv_cache_usage = self._kv_cache.usage
        return self._stats

    def schedule(self) -> ScheduledStep:
        """The next batch. Its blocks are taken, its full blocks findable: the worker must compute it."""
        step = ScheduledStep(released=self._released)
        self._released = []
        preemptions = self._stats.num_preemptions
        budget = self._schedule_running(step, self._config.max_num_batched_tokens)
        if self._stats.num_preemptions == preemptions:
            self._admit_waiting(step, budget)
        self._stats.num_steps += 1
        return step

    def update(self, step: ScheduledStep, result: StepResult) -> list[EngineOutput]:
        """Takes a step's results into the sequences; returns what is new."""
        outputs: list[EngineOutput] = []
        for index, request in enumerate(step.requests):
            request.num_computed_tokens += step.num_new_tokens[index] - self._rejected(request, result.sampled[index])
            if index in result.prompt_logprobs and request.prompt_logprobs is not None:
                request.prompt_logprobs.extend(result.prompt_logprobs[index])
            if result.sampled[index]:
                outputs.append(self._append(request, result.sampled[index], result.logprobs.get(index)))
        return outputs

    def restart(self, released: list[str]) -> None:
        """After a step that was not computed to its end: its blocks hold anything, and were findable.

        Running sequences are computed from their beginning again. `released`: of that step.
        """
        self._released = released + self._released
        while self._running:
            self._preempt(self._running.pop(), self._released)
        self._kv_cache.forget()

    def _schedule_running(self, step: ScheduledStep, budget: int) -> int:
        index = 0
        while index < len(self._running) and budget > 0:
            request = self._running[index]
            num_new = min(len(request.token_ids) - request.num_computed_tokens, budget)
            if request.lookup is not None:
                num_new += self._draft(request, request.lookup, num_new, budget)
            if self._grow_or_preempt(request, request.num_computed_tokens + num_new, step):
                self._add_to(step, request, num_new)
                budget -= num_new
                index += 1
        return budget

    def _draft(self, request: Request, lookup: PromptLookup, num_new: int, budget: int) -> int:
        """Tokens to check after the request's last one: none while its prompt is computed or blocks are short."""
        request.draft = []
        most = min(budget - num_new, request.max_tokens - request.num_output_tokens - 1)
        if num_new != 1 or request.num_output_tokens == 0 or most <= 0:
            return 0
        draft = lookup.draft(request.token_ids, most)
        if draft and self._kv_cache.grow(request.blocks, len(request.token_ids) + len(draft)):
            request.draft = draft
            self._stats.num_drafts += 1
            self._stats.num_draft_tokens += len(draft)
        return len(request.draft)

    def _rejected(self, request: Request, sampled: list[int]) -> int:
        """Draft tokens that the model did not choose; their keys and values are written over."""
        accepted = max(len(sampled) - 1, 0)
        self._stats.num_accepted_tokens += accepted
        for position in range(accepted):
            self._stats.num_accepted_at[position] += 1
        rejected = len(request.draft) - accepted
        request.draft = []
        return rejected

    def _grow_or_preempt(self, request: Request, num_tokens: int, step: ScheduledStep) -> bool:
        """Room for the request's tokens, if need be at the cost of those served after it; False: it gave way itself."""
        while not self._kv_cache.grow(request.blocks, num_tokens):
            victim = self._running.pop()
            self._preempt(victim, step.released)
            if victim is request:
                return False
        return True

    def _preempt(self, request: Request, released: list[str]) -> None:
        self._kv_cache.free(request.blocks)
        request.num_computed_tokens = 0
        request.draft = []
        request.is_running = False
        if request.prompt_logprobs is not None:
            request.prompt_logprobs = [None]
        self._waiting.push(request)
        self._stats.num_preemptions += 1
        request.num_preemptions += 1
        released.append(request.request_id)

    def _admit_waiting(self, step: ScheduledStep, budget: int) -> None:
        while self._waiting and budget > 0 and len(self._running) < self._config.max_num_seqs:
            request = self._waiting.peek()
            prefix = self._find_prefix(request)
            num_cached = len(prefix) * self._kv_cache.block_size
            num_missing = request.num_tokens - num_cached
            num_new = min(num_missing, budget)
            cut_short = num_new < num_missing and not self._config.enable_chunked_prefill
            if cut_short or not self._kv_cache.can_hold(request.num_tokens, prefix):
                return
            self._waiting.pop()
            self._kv_cache.start(request.blocks, prefix)
            self._kv_cache.grow(request.blocks, num_cached + num_new)
            self._start(request, num_cached)
            self._add_to(step, request, num_new)
            budget -= num_new

    def _find_prefix(self, request: Request) -> list[int]:
        """Prompt logprobs need the logits of every prompt token, so nothing may be skipped for them."""
        if request.prompt_logprobs is not None:
            return []
        return self._kv_cache.find_prefix(request.blocks, request.token_ids)

    def _start(self, request: Request, num_cached: int) -> None:
        request.num_computed_tokens = num_cached
        request.is_running = True
        self._running.append(request)
        if self._config.policy == "priority":
            self._running.sort(key=self._waiting.key)
        if request.num_cached_tokens < 0:
            request.first_scheduled_time = time.time()
            request.num_cached_tokens = num_cached
            self._stats.prompt_tokens += request.num_prompt_tokens
            self._stats.prefix_cache_queries += request.num_prompt_tokens
            self._stats.prefix_cache_hits += num_cached

    def _add_to(self, step: ScheduledStep, request: Request, num_new: int) -> None:
        known = request.num_computed_tokens + num_new - len(request.draft)
        self._kv_cache.name_full_blocks(request.blocks, request.token_ids, known)
        step.requests.append(request)
        step.num_new_tokens.append(num_new)

    def _append(self, request: Request, tokens: list[int], logprobs: list | None) -> EngineOutput:
        """Tokens up to the one that ends the sequence; the rest are dropped."""
        reason = stop = None
        kept = 0
        is_first = request.num_output_tokens == 0
        for token in tokens:
            request.token_ids.append(token)
            kept += 1
            reason, stop = request.finish_reason(token)
            if reason is not None:
                break
        self._stats.generation_tokens += kept
        prompt_logprobs, request.prompt_logprobs = request.prompt_logprobs, None
        if reason is not None:
            self._running.remove(request)
            self._forget(request)
        return EngineOutput(
            request_id=request.request_id,
            new_token_ids=tokens[:kept],
            finish_reason=reason,
            stop_reason=stop,
            new_logprobs=logprobs and logprobs[:kept],
            prompt_logprobs=prompt_logprobs,
            num_cached_tokens=request.num_cached_tokens,
            scheduled_time=request.first_scheduled_time if is_first else 0.0,
            num_preemptions=request.num_preemptions,
        )

    def _forget(self, request: Request) -> None:
        self._kv_cache.free(request.blocks)
        self._released.append(request.request_id)
        del self._requests[request.request_id]
