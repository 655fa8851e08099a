"""How near a run came to the machine's limits (Williams et al., "Roofline", 2009)."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from vllm.attention.cache_format import CacheFormat
from vllm.engine.llm_engine import LLMEngine
from vllm.profiling.cost import Cost, ModelCost, SequenceStep, sequences_of
from vllm.profiling.limits import Limits, measure_limits
from vllm.profiling.model_parts import model_of, patched
from vllm.scheduler.output import ScheduledStep
from vllm.scheduler.scheduler import Scheduler
from vllm.worker.model_loader import DTYPES


@dataclass(frozen=True)
class ObservedStep:
    sequences: list[SequenceStep]
    is_prefill: bool  # at least one sequence computes tokens of its prompt
    seconds: float  # scheduling, sampling and text included


@dataclass
class Observation:
    """The steps of a run, in order."""

    steps: list[ObservedStep] = field(default_factory=list)
    _sequences: list[SequenceStep] = field(default_factory=list)
    _is_prefill: bool = False

    def wrap_schedule(self, schedule: Callable) -> Callable:
        def observed(scheduler: Scheduler) -> ScheduledStep:
            step = schedule(scheduler)
            self._sequences = sequences_of(step)
            self._is_prefill = any(r.num_computed_tokens < r.num_prompt_tokens for r in step.requests)
            return step

        return observed

    def wrap_step(self, run_step: Callable) -> Callable:
        def observed(engine: LLMEngine) -> Any:
            self._sequences = []
            started = time.perf_counter()
            outputs = run_step(engine)
            seconds = time.perf_counter() - started
            if self._sequences:
                self.steps.append(ObservedStep(self._sequences, self._is_prefill, seconds))
            return outputs

        return observed


@contextmanager
def observe() -> Iterator[Observation]:
    """Within the block, every step of an engine in this process is noted; a step costs microseconds more."""
    observation = Observation()
    with ExitStack() as stack:
        stack.enter_context(patched(Scheduler, "schedule", observation.wrap_schedule))
        stack.enter_context(patched(LLMEngine, "step", observation.wrap_step))
        yield observation


@dataclass(frozen=True)
class Share:
    """Of all steps of one kind: the time that each limit alone would allow, over the time that they took."""

    steps: int
    seconds: float
    memory: float
    arithmetic: float


@dataclass(frozen=True)
class Roofline:
    """Shares are None where a run had no such step."""

    limits: Limits
    decode: Share | None
    prefill: Share | None


def roofline(engine: LLMEngine, observation: Observation) -> Roofline | None:
    """Measures the limits now, with the engine idle, and compares the observed steps with them.

    None where the model runs on a GPU, whose limits are not measured.
    """
    if engine.config.device_config.device != "cpu":
        return None
    dtype = DTYPES[engine.config.model_config.dtype]
    cache_format = CacheFormat.of(engine.config.cache_config.cache_dtype, dtype)
    model = ModelCost(model_of(engine), cache_format)
    limits = measure_limits(dtype, model.uses_int8)
    shares = [
        share([step for step in observation.steps if step.is_prefill == is_prefill], model, limits)
        for is_prefill in (False, True)
    ]
    return Roofline(limits, *shares)


def share(steps: list[ObservedStep], model: ModelCost, limits: Limits) -> Share | None:
    if not steps:
        return None
    cost = sum((model.of_step(step.sequences) for step in steps), Cost())
    seconds = sum(step.seconds for step in steps)
    arithmetic = cost.flops / limits.flops_per_second
    if cost.int8:
        arithmetic += cost.int8 / limits.int8_per_second
    return Share(len(steps), seconds, cost.bytes / limits.bytes_per_second / seconds, arithmetic / seconds)
