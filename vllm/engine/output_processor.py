"""From the core's outputs to what users read: text, stop strings, logprobs, n answers in one."""

import time
from dataclasses import dataclass, field

from vllm.engine.input_processor import ProcessedInput
from vllm.engine.logprobs import decode_prompt_logprobs
from vllm.engine.sequence_output import SequenceOutput
from vllm.exceptions import VLLMValidationError
from vllm.logprobs import PromptLogprobs
from vllm.messages import EngineOutput
from vllm.outputs import CompletionOutput, RequestMetrics, RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.tokenizer import Tokenizer


@dataclass(slots=True)
class FinishedRequest:
    """What metrics need of one finished sequence."""

    finish_reason: str
    metrics: RequestMetrics
    num_prompt_tokens: int
    num_cached_tokens: int
    num_preemptions: int
    max_tokens: int


@dataclass(slots=True)
class ProcessedOutputs:
    """`requests_to_abort`: core request ids that a stop string or an abort ended; the caller tells the core.

    The rest feeds metrics: seconds to the first token, seconds between tokens, the step's tokens (prompts count with
    their first token), the sequences that finished, and of requests that did, how many answers they had and how many
    tokens the longest.
    """

    request_outputs: list[RequestOutput] = field(default_factory=list)
    requests_to_abort: list[str] = field(default_factory=list)
    first_token_latencies: list[float] = field(default_factory=list)
    inter_token_latencies: list[float] = field(default_factory=list)
    num_tokens: int = 0
    finished: list[FinishedRequest] = field(default_factory=list)
    answered: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _RequestState:
    """One request of the user and its sequences."""

    request: ProcessedInput
    sequences: list[SequenceOutput]
    unfinished: int
    final_only: bool  # nothing is shown before the end
    prompt_logprobs: PromptLogprobs | None = None
    num_cached_tokens: int = 0
    error: str | None = None


class OutputProcessor:
    """Keeps one state a request until it has finished or is aborted."""

    def __init__(self, tokenizer: Tokenizer | None):
        self._tokenizer = tokenizer
        self._requests: dict[str, _RequestState] = {}
        self._sequences: dict[str, tuple[_RequestState, SequenceOutput]] = {}

    def add_request(self, request: ProcessedInput) -> None:
        """Call before the core can answer. Raises VLLMValidationError for a request id that is in use."""
        if request.request_id in self._requests:
            raise VLLMValidationError(f"request_id {request.request_id!r} is in use: give another", "request_id")
        sequences = [
            SequenceOutput(index, each, request.arrival_time, self._tokenizer)
            for index, each in enumerate(request.engine_requests)
        ]
        final_only = request.params.output_kind == RequestOutputKind.FINAL_ONLY
        state = _RequestState(request, sequences, len(sequences), final_only)
        self._requests[request.request_id] = state
        for each, sequence in zip(request.engine_requests, sequences, strict=True):
            self._sequences[each.request_id] = (state, sequence)

    @property
    def num_unfinished(self) -> int:
        return len(self._requests)

    def has_unfinished_requests(self) -> bool:
        return bool(self._requests)

    def process(self, outputs: list[EngineOutput]) -> ProcessedOutputs:
        """Outputs of unknown (aborted) requests are skipped."""
        now = time.time()
        result = ProcessedOutputs()
        changed: dict[str, tuple[_RequestState, list[SequenceOutput]]] = {}
        for output in outputs:
            if (found := self._sequences.get(output.request_id)) is None:
                continue
            state, sequence = found
            self._take(output, state, sequence, now, result)
            if state.unfinished == 0 or not state.final_only:
                changed.setdefault(state.request.request_id, (state, []))[1].append(sequence)
        for state, sequences in changed.values():
            if (made := self._request_output(state, sequences)) is not None:
                result.request_outputs.append(made)
        return result

    def abort_requests(self, request_ids: list[str]) -> list[str]:
        """Forgets requests (the user's ids); returns the core request ids to abort."""
        core_ids = []
        for state in [self._requests.pop(i) for i in request_ids if i in self._requests]:
            for each in state.request.engine_requests:
                if self._sequences.pop(each.request_id, None) is not None:
                    core_ids.append(each.request_id)
        return core_ids

    def finish_aborted(self, request_ids: list[str]) -> ProcessedOutputs:
        """Ends requests (the user's ids) with what there is of their answers, and finish_reason "abort"."""
        states = [self._requests[i] for i in request_ids if i in self._requests]
        core_ids = [each.request_id for state in states for each in state.request.engine_requests]
        core_ids = [i for i in core_ids if i in self._sequences]
        ended = self.process([EngineOutput(request_id=i, new_token_ids=[], finish_reason="abort") for i in core_ids])
        ended.requests_to_abort = core_ids
        return ended

    def _take(
        self,
        output: EngineOutput,
        state: _RequestState,
        sequence: SequenceOutput,
        now: float,
        result: ProcessedOutputs,
    ) -> None:
        """Adds one sequence's news and what they mean for metrics."""
        if output.new_token_ids:
            if sequence.metrics.first_token_time is None:
                sequence.metrics.first_scheduled_time = output.scheduled_time
                result.num_tokens += len(state.request.prompt_token_ids)
            result.num_tokens += len(output.new_token_ids)
            _record_latency(sequence.metrics, len(output.new_token_ids), now, result)
        if output.prompt_logprobs is not None:
            params = state.request.params
            state.prompt_logprobs = decode_prompt_logprobs(
                output.prompt_logprobs,
                self._tokenizer if params.detokenize else None,
                state.request.prompt_token_ids,
                params.flat_logprobs,
            )
        state.num_cached_tokens = max(state.num_cached_tokens, output.num_cached_tokens)
        state.error = output.error or state.error
        sequence.append(output)
        if sequence.finish_reason is None:
            return
        if output.finish_reason is None:  # a stop string; the core does not know yet
            result.requests_to_abort.append(output.request_id)
        sequence.metrics.finished_time = now
        result.finished.append(_finished(sequence, state.request, output))
        del self._sequences[output.request_id]
        state.unfinished -= 1
        if state.unfinished == 0:
            most = max(each.metrics.num_generation_tokens for each in state.sequences)
            result.answered.append((len(state.sequences), most))
            del self._requests[state.request.request_id]

    def _request_output(self, state: _RequestState, changed: list[SequenceOutput]) -> RequestOutput | None:
        """None where a stream has nothing new to show."""
        kind = state.request.params.output_kind
        finished = state.unfinished == 0
        made = [each.take_output(kind) for each in (state.sequences if state.final_only else changed)]
        completions: list[CompletionOutput] = [each for each in made if each is not None]
        if not completions and not finished:
            return None
        return RequestOutput(
            request_id=state.request.request_id,
            prompt=state.request.prompt,
            prompt_token_ids=state.request.prompt_token_ids,
            prompt_logprobs=state.prompt_logprobs,
            outputs=completions,
            finished=finished,
            metrics=state.sequences[0].metrics,
            num_cached_tokens=state.num_cached_tokens,
            error=state.error,
        )


def _finished(sequence: SequenceOutput, request: ProcessedInput, last: EngineOutput) -> FinishedRequest:
    return FinishedRequest(
        finish_reason=sequence.finish_reason or "",
        metrics=sequence.metrics,
        num_prompt_tokens=len(request.prompt_token_ids),
        num_cached_tokens=max(last.num_cached_tokens, 0),
        num_preemptions=last.num_preemptions,
        max_tokens=request.engine_requests[sequence.index].sampling_params.max_tokens or 0,
    )


def _record_latency(metrics: RequestMetrics, new_tokens: int, now: float, result: ProcessedOutputs) -> None:
    if metrics.first_token_time is None:
        metrics.first_token_time = now
        result.first_token_latencies.append(now - metrics.arrival_time)
    elif metrics.last_token_time is not None:
        result.inter_token_latencies.append(now - metrics.last_token_time)
    metrics.last_token_time = now
    metrics.num_generation_tokens += new_tokens
