"""A Prometheus histogram that counts by itself and is read when it is scraped."""

from bisect import bisect_left

from prometheus_client.core import HistogramMetricFamily, Metric


class Histogram:
    """Counts of values by bucket; observing costs less than a microsecond, as it happens for every token."""

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...], labels: tuple[str, ...]):
        self._name, self._documentation, self._bounds, self._labels = name, documentation, bounds, labels
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self, values: tuple[str, ...]) -> Metric:
        """`values` of the labels."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), total))
        family.add_metric(values, buckets, self._sum)
        return family
