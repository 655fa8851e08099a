"""/metrics: Prometheus metrics with vLLM's names, made from the engine's counters when they are scraped."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from vllm.engine.async_llm import AsyncLLM
from vllm.engine.output_processor import FinishedRequest, ProcessedOutputs
from vllm.version import __version__

_SECONDS_TO_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40, 80)
_SECONDS_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10)
_SECONDS_OF_REQUEST = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920)
_TOKENS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
_FINISH_REASONS = ("stop", "length", "abort", "error")
_LABELS = ("model_name", "engine")


class Histogram:
    """Counts of values by bucket; observing costs less than a microsecond, as it happens for every token."""

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...]):
        self._name, self._documentation, self._bounds = name, documentation, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self, labels: tuple[str, ...]) -> Metric:
        family = HistogramMetricFamily(self._name, self._documentation, labels=_LABELS)
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), total))
        family.add_metric(labels, buckets, self._sum)
        return family


class EngineMetrics(Collector):
    """Watches an engine's outputs; `render` gives the text that Prometheus reads."""

    def __init__(self, llm: AsyncLLM):
        self._llm = llm
        self._labels = (llm.config.model_config.served_model_name[0], "0")
        self._first = Histogram("vllm:time_to_first_token_seconds", "Arrival to first token", _SECONDS_TO_FIRST)
        self._between = Histogram("vllm:inter_token_latency_seconds", "Between tokens", _SECONDS_BETWEEN)
        self._request = Histogram("vllm:e2e_request_latency_seconds", "Arrival to end", _SECONDS_OF_REQUEST)
        self._prompt = Histogram("vllm:request_prompt_tokens", "Prompt tokens of finished sequences", _TOKENS)
        self._generation = Histogram("vllm:request_generation_tokens", "Tokens made for finished sequences", _TOKENS)
        self._finished: Counter[str] = Counter(dict.fromkeys(_FINISH_REASONS, 0))
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        llm.observers.append(self.observe)

    def observe(self, outputs: ProcessedOutputs) -> None:
        """Takes in what one step gave."""
        for latency in outputs.first_token_latencies:
            self._first.observe(latency)
        for latency in outputs.inter_token_latencies:
            self._between.observe(latency)
        for finished in outputs.finished:
            self._observe_finished(finished)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()
        yield from self._counters()
        for histogram in (self._first, self._between, self._request, self._prompt, self._generation):
            yield histogram.collect(self._labels)

    def _observe_finished(self, finished: FinishedRequest) -> None:
        self._finished[finished.finish_reason] += 1
        self._prompt.observe(finished.num_prompt_tokens)
        self._generation.observe(finished.metrics.num_generation_tokens)
        if finished.metrics.finished_time is not None:
            self._request.observe(finished.metrics.finished_time - finished.metrics.arrival_time)

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
