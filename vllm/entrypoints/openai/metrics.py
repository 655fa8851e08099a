"""/metrics: the engine's metrics as Prometheus reads them."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from vllm.engine.async_llm import AsyncLLM
from vllm.engine.metrics import DOCUMENTATION, EngineMetrics
from vllm.metrics import Gauge, Histogram, Metric, Vector
from vllm.version import __version__


class ServedMetrics(Collector):
    """The metrics of an engine; `render` gives the text of now."""

    def __init__(self, llm: AsyncLLM):
        self._llm = llm
        model = llm.config.model_config
        self._metrics = EngineMetrics(model.served_model_name[0], model.max_model_len)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        llm.observers.append(self._metrics.observe)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        families: dict[str, Family] = {}
        for metric in self._metrics.snapshot(self._llm.stats):
            if metric.name not in families:
                families[metric.name] = _family(metric)
            _add(families[metric.name], metric)
        yield from families.values()
        labels = self._metrics.labels
        engine_up = GaugeMetricFamily("vllm:engine_up", "Whether the engine takes requests", labels=tuple(labels))
        engine_up.add_metric(tuple(labels.values()), int(self._llm.is_running))
        yield engine_up
        yield self._sleep_state()
        info = GaugeMetricFamily("vllm:version_info", "The server's version", labels=("version",))
        info.add_metric((__version__,), 1)
        yield info
        yield self._cache_config()

    def _sleep_state(self) -> Family:
        """1 for the state that the engine is in, which is that of sleep's level 0 (not asleep), 1 or 2."""
        labels = self._metrics.labels
        family = GaugeMetricFamily("vllm:engine_sleep_state", "How deep it sleeps", labels=(*labels, "sleep_state"))
        for level, name in enumerate(("awake", "weights_offloaded", "discard_all")):
            family.add_metric((*labels.values(), name), int(level == self._llm.sleep_level))
        return family

    def _cache_config(self) -> Family:
        """Settings as labels, as vLLM gives them."""
        config = self._llm.config
        cache = config.cache_config
        settings = {
            "block_size": cache.block_size,
            "cache_dtype": cache.cache_dtype,
            "enable_prefix_caching": cache.enable_prefix_caching,
            "gpu_memory_utilization": config.device_config.memory_utilization,
            "num_gpu_blocks": self._llm.stats.kv_cache_tokens // cache.block_size,
            "kv_cache_size_tokens": self._llm.stats.kv_cache_tokens,
            "kv_cache_max_concurrency": self._llm.stats.kv_cache_tokens / config.model_config.max_model_len,
            "engine": self._metrics.labels["engine"],
        }
        family = GaugeMetricFamily("vllm:cache_config_info", "How the KV cache is set up", labels=tuple(settings))
        family.add_metric(tuple(map(str, settings.values())), 1)
        return family


def _family(metric: Metric) -> Family:
    """An empty family for metrics like this one."""
    kinds = {Gauge: GaugeMetricFamily, Histogram: HistogramMetricFamily}
    labels = (*metric.labels, *(["position"] if isinstance(metric, Vector) else []))
    documentation = DOCUMENTATION[metric.name.removeprefix("vllm:")]
    return kinds.get(type(metric), CounterMetricFamily)(metric.name, documentation, labels=labels)


def _add(family: Family, metric: Metric) -> None:
    labels = tuple(metric.labels.values())
    if isinstance(metric, Histogram):
        family.add_metric(labels, list(metric.buckets.items()), metric.sum)
    elif isinstance(metric, Vector):
        for position, value in enumerate(metric.values):
            family.add_metric((*labels, str(position)), value)
    else:
        family.add_metric(labels, metric.value)
