"""An engine's metrics under vLLM's names, made from its counters when they are asked for."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from vllm.engine.output_processor import FinishedRequest, ProcessedOutputs
from vllm.messages import EngineStats
from vllm.metrics import Counter, Gauge, Histogram, Metric, Vector

# Bounds of buckets are upstream's: dashboards and alerts name them.
_SECONDS_TO_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_SECONDS_TO_FIRST += (160, 640, 2560)
_SECONDS_BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_SECONDS_OF_REQUEST = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_TOKENS = tuple(digit * 10**power for power in range(8) for digit in (1, 2, 5))  # as far as max_model_len
_PREEMPTIONS = (1, 2, 3, 4, 5, 10, 20)
_ANSWERS = (1, 2, 5, 10, 20)
_STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
# Buckets -> the histograms that have them, and what they say.
_HISTOGRAMS = {
    _SECONDS_TO_FIRST: {"time_to_first_token_seconds": "Arrival to first token"},
    _SECONDS_BETWEEN: {
        "inter_token_latency_seconds": "Between tokens",
        "request_time_per_output_token_seconds": "Between tokens, the mean of each finished sequence",
    },
    _SECONDS_OF_REQUEST: {
        "e2e_request_latency_seconds": "Arrival to end",
        "request_queue_time_seconds": "Arrival to the first step",
        "request_prefill_time_seconds": "First step to first token",
        "request_decode_time_seconds": "First token to last",
        "request_inference_time_seconds": "First step to last token",
    },
    _TOKENS: {
        "request_prompt_tokens": "Prompt tokens of finished sequences",
        "request_prefill_kv_computed_tokens": "Prompt tokens of finished sequences that were not found in the cache",
        "request_generation_tokens": "Tokens made for finished sequences",
        "request_max_num_generation_tokens": "Tokens of the longest answer of finished requests",
        "request_params_max_tokens": "max_tokens of finished sequences",
    },
    _ANSWERS: {"request_params_n": "n of finished requests"},
    _PREEMPTIONS: {"request_num_preemptions": "How often finished sequences were set back for want of KV cache"},
    _STEP_TOKENS: {"iteration_tokens_total": "Tokens of a step; prompts count with their first token"},
}
_FINISH_REASONS = ("stop", "length", "abort", "error")
# Name -> the field of EngineStats, and what it says.
_GAUGES = {
    "num_requests_running": ("num_running", "Sequences in the running batch"),
    "num_requests_waiting": ("num_waiting", "Sequences that wait for a place in it"),
    "kv_cache_usage_perc": ("kv_cache_usage", "KV cache in use, from 0 to 1"),
    "kv_cache_tokens": ("kv_cache_tokens", "Tokens that the KV cache can hold"),
}
_COUNTERS = {
    "prefix_cache_queries": ("prefix_cache_queries", "Prompt tokens looked up in the cache"),
    "prefix_cache_hits": ("prefix_cache_hits", "Prompt tokens found in it"),
    "num_preemptions": ("num_preemptions", "Sequences set back for want of KV cache"),
    "prompt_tokens": ("prompt_tokens", "Prompt tokens processed"),
    "generation_tokens": ("generation_tokens", "Tokens generated"),
    "spec_decode_num_drafts": ("num_drafts", "Drafts that were checked"),
    "spec_decode_num_draft_tokens": ("num_draft_tokens", "Tokens in them"),
    "spec_decode_num_accepted_tokens": ("num_accepted_tokens", "Of those, accepted"),
}
_ACCEPTED_AT = "spec_decode_num_accepted_tokens_per_pos"
_SUCCESS = "request_success"
_WAITING = "num_requests_waiting_by_reason"
_REFUSED = "admission_rejections"
DOCUMENTATION = {
    **{name: text for named in _HISTOGRAMS.values() for name, text in named.items()},
    **{name: text for name, (_, text) in (_GAUGES | _COUNTERS).items()},
    _ACCEPTED_AT: "Accepted tokens by their position in the draft",
    _SUCCESS: "Finished sequences",
    _WAITING: "Sequences that wait, for a place in the batch (capacity) or for anything else (deferred)",
    _REFUSED: "Requests refused because too many wait already: there is no such limit",
}
"""What each metric says, by its name without "vllm:"."""


@dataclass(slots=True)
class _Observed:
    """Counts of values by bucket; observing costs less than a microsecond, as it happens for every token."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> dict[str, int]:
        """Of values up to each bound, "+Inf" being the last."""
        names = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return dict(zip(names, accumulate(self.counts), strict=True))


class EngineMetrics:
    """Watches an engine's outputs.

    Args:
        model: the name that the model is served under.
        max_model_len: no request has more tokens.
    """

    def __init__(self, model: str, max_model_len: int):
        self.labels = {"model_name": model, "engine": "0"}
        self._observed: dict[str, _Observed] = {}
        for bounds, named in _HISTOGRAMS.items():
            reached = tuple(b for b in bounds if b <= max_model_len) if bounds is _TOKENS else bounds
            self._observed |= {name: _Observed(reached, [0] * (len(reached) + 1)) for name in named}
        self._finished = dict.fromkeys(_FINISH_REASONS, 0)

    def observe(self, outputs: ProcessedOutputs) -> None:
        """Takes in what one step gave."""
        for latency in outputs.first_token_latencies:
            self._observed["time_to_first_token_seconds"].observe(latency)
        for latency in outputs.inter_token_latencies:
            self._observed["inter_token_latency_seconds"].observe(latency)
        if outputs.num_tokens:
            self._observed["iteration_tokens_total"].observe(outputs.num_tokens)
        for finished in outputs.finished:
            self._observe_finished(finished)
        for answers, most_tokens in outputs.answered:
            self._observed["request_params_n"].observe(answers)
            self._observed["request_max_num_generation_tokens"].observe(most_tokens)

    def snapshot(self, stats: EngineStats) -> Iterator[Metric]:
        """All metrics now; `stats` is what the engine's core says."""
        for name, (field, _) in _GAUGES.items():
            yield Gauge(f"vllm:{name}", self.labels, getattr(stats, field))
        for reason, waiting in (("capacity", stats.num_waiting), ("deferred", 0)):
            yield Gauge(f"vllm:{_WAITING}", {**self.labels, "reason": reason}, waiting)
        for reason in ("max_num_queued_reqs", "max_num_queued_tokens"):
            yield Counter(f"vllm:{_REFUSED}", {"model_name": self.labels["model_name"], "reason": reason}, 0)
        for name, (field, _) in _COUNTERS.items():
            yield Counter(f"vllm:{name}", self.labels, getattr(stats, field))
        yield Vector(f"vllm:{_ACCEPTED_AT}", self.labels, list(stats.num_accepted_at))
        for reason, count in self._finished.items():
            yield Counter(f"vllm:{_SUCCESS}", {**self.labels, "finished_reason": reason}, count)
        for name, observed in self._observed.items():
            count, buckets = sum(observed.counts), observed.buckets()
            yield Histogram(f"vllm:{name}", self.labels, count, observed.total, buckets)

    def _observe_finished(self, finished: FinishedRequest) -> None:
        self._finished[finished.finish_reason] += 1
        self._observed["request_prompt_tokens"].observe(finished.num_prompt_tokens)
        self._observed["request_generation_tokens"].observe(finished.metrics.num_generation_tokens)
        self._observed["request_params_max_tokens"].observe(finished.max_tokens)
        computed = finished.num_prompt_tokens - finished.num_cached_tokens
        self._observed["request_prefill_kv_computed_tokens"].observe(computed)
        self._observed["request_num_preemptions"].observe(finished.num_preemptions)
        times = finished.metrics
        if times.first_token_time is not None and times.last_token_time is not None:
            later_tokens = max(times.num_generation_tokens - 1, 1)
            mean = (times.last_token_time - times.first_token_time) / later_tokens
            self._observed["request_time_per_output_token_seconds"].observe(max(mean, 0.0))
        for name, begin, end in (
            ("e2e_request_latency_seconds", times.arrival_time, times.finished_time),
            ("request_queue_time_seconds", times.arrival_time, times.first_scheduled_time),
            ("request_prefill_time_seconds", times.first_scheduled_time, times.first_token_time),
            ("request_decode_time_seconds", times.first_token_time, times.last_token_time),
            ("request_inference_time_seconds", times.first_scheduled_time, times.last_token_time),
        ):
            if begin is not None and end is not None:
                self._observed[name].observe(max(end - begin, 0.0))  # clocks are set back now and then
