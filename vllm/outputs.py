"""What a request gives back."""

from dataclasses import dataclass, field

from vllm.logprobs import PromptLogprobs, SampleLogprobs


@dataclass(slots=True)
class RequestMetrics:
    """When things happened to one request, in seconds of `time.time()`; None for what has not happened yet."""

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


@dataclass(slots=True)
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
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None = None
    logprobs: SampleLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    def finished(self) -> bool:
        return self.finish_reason is not None


@dataclass(slots=True)
class RequestOutput:
    """A prompt and its answers.

    Attributes:
        prompt: the prompt's text; None where token ids were given.
        prompt_logprobs: per prompt token {id: Logprob}, the first None; None without `prompt_logprobs`.
        num_cached_tokens: prompt tokens whose keys and values came from the prefix cache.
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
    num_cached_tokens: int = 0
    error: str | None = field(default=None, repr=False)
