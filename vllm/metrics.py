"""What an engine counts: the objects that `LLM.get_metrics()` gives, as vLLM's are."""

from dataclasses import dataclass


@dataclass
class Metric:
    """`name` starts with "vllm:"; `labels` tell metrics of one name apart."""

    name: str
    labels: dict[str, str]


@dataclass
class Counter(Metric):
    """How often something happened, from the engine's start."""

    value: int


@dataclass
class Vector(Metric):
    """Counters that differ by a position only."""

    values: list[int]


@dataclass
class Gauge(Metric):
    """A value at this moment."""

    value: float


@dataclass
class Histogram(Metric):
    """Values that were observed: how many, their sum, and how many are at most each bucket's bound ("0.5", "+Inf")."""

    count: int
    sum: float
    buckets: dict[str, int]
