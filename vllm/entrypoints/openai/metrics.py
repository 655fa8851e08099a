"""/metrics: Prometheus metrics with vLLM's names, made from the engine's counters when they are scraped."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from vllm.engine.async_llm import AsyncLLM
from vllm.engine.output_processor import FinishedRequest, ProcessedOutputs
from vllm.entrypoints.openai.histogram import Histogram
from vllm.version import __version__

_SECONDS_TO_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40, 80)
_SECONDS_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10)
_SECONDS_OF_REQUEST = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920)
_TOKENS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
_ANSWERS = (1, 2, 5, 10, 20)
_STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
# Buckets -> the histograms that have them, and what they say.
_HISTOGRAMS = {
    _SECONDS_TO_FIRST: {"time_to_first_token_seconds": "Arrival to first token"},
    _SECONDS_BETWEEN: {"inter_token_latency_seconds": "Between tokens"},
    _SECONDS_OF_REQUEST: {
        "e2e_request_latency_seconds": "Arrival to end",
        "request_queue_time_seconds": "Arrival to the first step",
        "request_prefill_time_seconds": "First step to first token",
        "request_decode_time_seconds": "First token to last",
        "request_inference_time_seconds": "First step to last token",
    },
    _TOKENS: {
        "request_prompt_tokens": "Prompt tokens of finished sequences",
        "request_generation_tokens": "Tokens made for finished sequences",
        "request_max_num_generation_tokens": "Tokens of the longest answer of finished requests",
        "request_params_max_tokens": "max_tokens of finished sequences",
    },
    _ANSWERS: {"request_params_n": "n of finished requests"},
    _STEP_TOKENS: {"iteration_tokens_total": "Tokens of a step; prompts count with their first token"},
}
_FINISH_REASONS = ("stop", "length", "abort", "error")
_LABELS = ("model_name", "engine")


class EngineMetrics(Collector):
    """Watches an engine's outputs; `render` gives the text that Prometheus reads."""

    def __init__(self, llm: AsyncLLM):
        self._llm = llm
        self._labels = (llm.config.model_config.served_model_name[0], "0")
        self._histograms = {
            name: Histogram(f"vllm:{name}", documentation, bounds, _LABELS)
            for bounds, named in _HISTOGRAMS.items()
            for name, documentation in named.items()
        }
        self._finished: Counter[str] = Counter(dict.fromkeys(_FINISH_REASONS, 0))
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        llm.observers.append(self.observe)

    def observe(self, outputs: ProcessedOutputs) -> None:
        """Takes in what one step gave."""
        for latency in outputs.first_token_latencies:
            self._histograms["time_to_first_token_seconds"].observe(latency)
        for latency in outputs.inter_token_latencies:
            self._histograms["inter_token_latency_seconds"].observe(latency)
        if outputs.num_tokens:
            self._histograms["iteration_tokens_total"].observe(outputs.num_tokens)
        for finished in outputs.finished:
            self._observe_finished(finished)
        for answers, most_tokens in outputs.answered:
            self._histograms["request_params_n"].observe(answers)
            self._histograms["request_max_num_generation_tokens"].observe(most_tokens)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()
        yield from self._counters()
        for histogram in self._histograms.values():
            yield histogram.collect(self._labels)

    def _observe_finished(self, finished: FinishedRequest) -> None:
        self._finished[finished.finish_reason] += 1
        self._histograms["request_prompt_tokens"].observe(finished.num_prompt_tokens)
        self._histograms["request_generation_tokens"].observe(finished.metrics.num_generation_tokens)
        self._histograms["request_params_max_tokens"].observe(finished.max_tokens)
        times = finished.metrics
        for name, begin, end in (
            ("e2e_request_latency_seconds", times.arrival_time, times.finished_time),
            ("request_queue_time_seconds", times.arrival_time, times.first_scheduled_time),
            ("request_prefill_time_seconds", times.first_scheduled_time, times.first_token_time),
            ("request_decode_time_seconds", times.first_token_time, times.last_token_time),
            ("request_inference_time_seconds", times.first_scheduled_time, times.last_token_time),
        ):
            if begin is not None and end is not None:
                self._histograms[name].observe(max(end - begin, 0.0))  # clocks are set back now and then

    def _gauges(self) -> Iterator[Metric]:
        stats = self._llm.stats
        yield self._gauge("num_requests_running", "Sequences in the running batch", stats.num_running)
        yield self._gauge("num_requests_waiting", "Sequences that wait for a place in it", stats.num_waiting)
        yield self._gauge("kv_cache_usage_perc", "KV cache in use, from 0 to 1", stats.kv_cache_usage)
        yield self._gauge("kv_cache_tokens", "Tokens that the KV cache can hold", stats.kv_cache_tokens)
        yield self._gauge("engine_up", "Whether the engine takes requests", int(self._llm.is_running))
        info = GaugeMetricFamily("vllm:version_info", "The server's version", labels=("version",))
        info.add_metric((__version__,), 1)
        yield info
        yield self._cache_config()

    def _cache_config(self) -> Metric:
        """Settings as labels, as vLLM gives them."""
        config = self._llm.config
        cache = config.cache_config
        settings = {
            "block_size": cache.block_size,
            "cache_dtype": cache.cache_dtype,
            "enable_prefix_caching": cache.enable_prefix_caching,
            "gpu_memory_utilization": config.device_config.memory_utilization,
            "num_gpu_blocks": self._llm.stats.kv_cache_tokens // cache.block_size,
        }
        family = GaugeMetricFamily("vllm:cache_config_info", "How the KV cache is set up", labels=(*settings, "engine"))
        family.add_metric((*map(str, settings.values()), self._labels[1]), 1)
        return family

    def _counters(self) -> Iterator[Metric]:
        stats = self._llm.stats
        yield self._counter("prefix_cache_queries", "Prompt tokens looked up in it", stats.prefix_cache_queries)
        yield self._counter("prefix_cache_hits", "Prompt tokens found in it", stats.prefix_cache_hits)
        yield self._counter("num_preemptions", "Sequences set back for want of KV cache", stats.num_preemptions)
        yield self._counter("prompt_tokens", "Prompt tokens processed", stats.prompt_tokens)
        yield self._counter("generation_tokens", "Tokens generated", stats.generation_tokens)
        yield self._counter("spec_decode_num_drafts", "Drafts that were checked", stats.num_drafts)
        yield self._counter("spec_decode_num_draft_tokens", "Tokens in them", stats.num_draft_tokens)
        yield self._counter("spec_decode_num_accepted_tokens", "Of those, accepted", stats.num_accepted_tokens)
        labels = (*_LABELS, "finished_reason")
        success = CounterMetricFamily("vllm:request_success", "Finished sequences", labels=labels)
        for reason, count in self._finished.items():
            success.add_metric((*self._labels, reason), count)
        yield success

    def _gauge(self, name: str, documentation: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"vllm:{name}", documentation, labels=_LABELS)
        family.add_metric(self._labels, value)
        return family

    def _counter(self, name: str, documentation: str, value: float) -> Metric:
        family = CounterMetricFamily(f"vllm:{name}", documentation, labels=_LABELS)
        family.add_metric(self._labels, value)
        return family
