"""What crosses the border between the engine's core and whoever drives it; msgspec encodes each as it is."""

import msgspec

from vllm.sampling_params import SamplingParams


class EngineRequest(msgspec.Struct, omit_defaults=True):
    """One sequence to generate. `sampling_params.n` is 1: the input processor has expanded it.

    `eos_token_ids` end the sequence unless `ignore_eos`. A lower `priority` runs earlier (policy "priority").
    """

    request_id: str
    prompt_token_ids: list[int]
    sampling_params: SamplingParams
    eos_token_ids: list[int]
    arrival_time: float
    priority: int = 0


class TokenLogprobs(msgspec.Struct, array_like=True):
    """Log probabilities at one position: the sampled (or prompt) token first, then the top-k in falling order.

    `rank` is the first token's place in the vocabulary, 1 being the most likely; the top-k have ranks 1, 2, ...
    """

    token_ids: list[int]
    logprobs: list[float]
    rank: int


class EngineOutput(msgspec.Struct, omit_defaults=True):
    """What one step made for one sequence.

    `finish_reason` is "stop", "length", "abort", "error" or None. `stop_reason` is the stop token id that ended
    the sequence, None for the end-of-sequence token. `error` says why with finish_reason "error". With its first tokens
    comes when the sequence was first part of a step, by `time.time()`.
    """

    request_id: str
    new_token_ids: list[int]
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    new_logprobs: list[TokenLogprobs] | None = None
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    num_cached_tokens: int = 0
    error: str | None = None
    scheduled_time: float = 0.0
    num_preemptions: int = 0


class EngineStats(msgspec.Struct):
    """The core's state after a step. `kv_cache_usage` is a fraction; what follows it is counted from the start."""

    num_running: int = 0
    num_waiting: int = 0
    kv_cache_usage: float = 0.0
    kv_cache_tokens: int = 0  # capacity, not a counter
    prefix_cache_queries: int = 0  # prompt tokens looked up
    prefix_cache_hits: int = 0  # of them found
    num_preemptions: int = 0
    prompt_tokens: int = 0  # computed or found in the cache
    generation_tokens: int = 0
    num_steps: int = 0
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0  # draft tokens that the model would have chosen, too
    num_accepted_at: list[int] = []  # of them, by their position in the draft
