"""What a request gives back."""

import dataclasses
import functools
import logging
from dataclasses import dataclass, field
from typing import Any

from vllm.logprobs import PromptLogprobs, SampleLogprobs
from vllm.pooling_outputs import (
    ClassificationOutput,
    ClassificationRequestOutput,
    EmbeddingOutput,
    EmbeddingRequestOutput,
    PoolingOutput,
    PoolingRequestOutput,
    ScoringOutput,
    ScoringRequestOutput,
)

__all__ = [
    "ClassificationOutput",
    "ClassificationRequestOutput",
    "CompletionOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "PoolingOutput",
    "PoolingRequestOutput",
    "RequestMetrics",
    "RequestOutput",
    "ScoringOutput",
    "ScoringRequestOutput",
]
_log = logging.getLogger(__name__)


@dataclass
class RequestMetrics:
    """When things happened to one request, in seconds of `time.time()`; None for what has not happened yet.

    Names that end in `_ts` are upstream's for the same times, 0.0 for what has not happened yet. Upstream reads them
    from a monotonic clock, here they are wall-clock times as the others: take differences of them only.
    """

    arrival_time: float
    first_scheduled_time: float | None = None
    first_token_time: float | None = None
    last_token_time: float | None = None
    finished_time: float | None = None
    num_generation_tokens: int = 0

    @property
    def first_token_latency(self) -> float | None:
        """Seconds from arrival to the first token."""
        return None if self.first_token_time is None else self.first_token_time - self.arrival_time

    @property
    def queued_ts(self) -> float:
        """The arrival: a request waits for the scheduler from then on."""
        return self.arrival_time

    @property
    def scheduled_ts(self) -> float:
        return self.first_scheduled_time or 0.0

    @property
    def first_token_ts(self) -> float:
        return self.first_token_time or 0.0

    @property
    def last_token_ts(self) -> float:
        return self.last_token_time or 0.0

    @property
    def is_corrupted(self) -> bool:
        """False: nobody looks for NaN in logits, as upstream does where it is told to."""
        return False


@dataclass
class CompletionOutput:
    """One of the `n` answers to a prompt.

    Attributes:
        index: which of the `n` answers this is.
        text: the text so far, or what is new of it (RequestOutputKind.DELTA).
        token_ids: the token ids so far, or the new ones.
        cumulative_logprob: sum of the log probabilities of the tokens so far; None without `logprobs`.
        logprobs: per token {id: Logprob}; None without `logprobs`.
        finish_reason: "stop", "length", "abort", "error", or None while the answer grows.
        stop_reason: the stop string or the stop token id that ended it; None for the end-of-sequence token.
        lora_request: of what is not offered, None.
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None = None
    logprobs: SampleLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    lora_request: None = None

    def finished(self) -> bool:
        return self.finish_reason is not None

    def _extend(self, later: "CompletionOutput") -> None:
        """Makes of this and what is new in `later` the output of both."""
        self.text += later.text
        self.token_ids = [*self.token_ids, *later.token_ids]
        if self.logprobs is not None and later.logprobs is not None:
            self.logprobs.extend(later.logprobs)
        self.cumulative_logprob = later.cumulative_logprob
        self.finish_reason, self.stop_reason = later.finish_reason, later.stop_reason


def _ignores_unknown_keywords(cls: type) -> type:
    """Decorates a dataclass: programs that are written for another version may give it fields of that."""
    known = [each.name for each in dataclasses.fields(cls)]
    generated = cls.__init__

    @functools.wraps(generated)
    def init(self: Any, *args: Any, **keywords: Any) -> None:
        if unknown := [name for name in keywords if name not in known]:
            _log.warning("%s has no field %s: what was given is ignored", cls.__name__, ", ".join(unknown))
        generated(self, *args, **{name: value for name, value in keywords.items() if name in known})

    cls.__init__ = init
    return cls


@_ignores_unknown_keywords
@dataclass
class RequestOutput:
    """A prompt and its answers.

    Attributes:
        prompt: the prompt's text; None where token ids were given.
        prompt_logprobs: per prompt token {id: Logprob}, the first None; None without `prompt_logprobs`.
        num_cached_tokens: prompt tokens whose keys and values came from the prefix cache.
        lora_request, encoder_prompt, encoder_prompt_token_ids, kv_transfer_params: of what is not offered, None.
        error: why the engine gave the request up, with finish_reason "error".
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: PromptLogprobs | None
    outputs: list[CompletionOutput]
    finished: bool
    metrics: RequestMetrics | None = None
    lora_request: None = None
    encoder_prompt: None = None
    encoder_prompt_token_ids: None = None
    num_cached_tokens: int = 0
    kv_transfer_params: None = None
    error: str | None = field(default=None, repr=False)

    def add(self, next_output: "RequestOutput", aggregate: bool) -> None:
        """Takes a later output of the same request: what is new (`aggregate`), or what then replaces the answers."""
        self.finished |= next_output.finished
        answers = {each.index: each for each in self.outputs}
        for later in next_output.outputs:
            if aggregate and later.index in answers:
                answers[later.index]._extend(later)
            else:
                answers[later.index] = later
        self.outputs = list(answers.values())
