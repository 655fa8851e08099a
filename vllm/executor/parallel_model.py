"""A model in parts, one a rank, that computes as one."""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vllm.attention.step_input import StepInput
from vllm.config import VllmConfig
from vllm.distributed.group import Group
from vllm.executor.rank import load_rank
from vllm.executor.workers import Workers
from vllm.models.interface import Steps
from vllm.worker.runner import ModelRunner


def parallel_runner(config: VllmConfig, workers: Workers) -> ModelRunner:
    """Rank 0's part of the model in this process, the others' in the workers'. Raises as Workers.together."""
    with workers.together():
        group = workers.join()
        return LeadingRunner(config, group, workers)


class LeadingRunner(ModelRunner):
    """Rank 0's: the workers do with theirs what it is asked for."""

    def __init__(self, config: VllmConfig, group: Group, workers: Workers):
        self._workers = workers
        super().__init__(config, lambda: load_rank(config, group), group, lambda steps: LeadingSteps(steps, workers))

    def sleep(self, level: int) -> None:
        with self._workers.step():
            self._workers.call("sleep", level)
            super().sleep(level)

    def wake_up(self, parts: set[str]) -> None:
        self.check_wake_up(parts)
        with self._workers.step():
            self._workers.call("wake_up", parts)
            super().wake_up(parts)


class LeadingSteps:
    """Rank 0's steps, with what the runner asks for: the workers do the same with theirs, of inputs that they are sent.

    Inputs are on the host; each rank brings them to its device.
    """

    def __init__(self, steps: Steps, workers: Workers):
        self._steps, self._workers = steps, workers

    def forward(self, step: StepInput) -> Tensor:
        with self._workers.step():
            self._workers.call("forward", *_sent(step))
            self._hidden = self._steps.forward(step)
        return self._hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden: consecutive rows of what `forward` returned last."""
        with self._workers.step():
            self._workers.call("logits", *self._bounds(hidden))
            return self._steps.logits(hidden)

    def greedy_tokens(self, hidden: Tensor) -> Tensor | None:
        """hidden: as of `logits`."""
        with self._workers.step():
            self._workers.call("greedy_tokens", *self._bounds(hidden))
            return self._steps.greedy_tokens(hidden)

    def _bounds(self, hidden: Tensor) -> tuple[int, int]:
        start = (hidden.data_ptr() - self._hidden.data_ptr()) // self._hidden[:1].nbytes
        return start, start + hidden.shape[0]


class FollowingRank:
    """A worker's runner; its methods are what rank 0 calls."""

    def __init__(self, runner: ModelRunner):
        self._runner = runner
        self.sleep, self.wake_up = runner.sleep, runner.wake_up

    @torch.inference_mode()
    def forward(self, *values: Any) -> None:
        """values: of `_sent`."""
        own = (torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in values)
        with self._runner.warmup.held():
            self._hidden = self._runner.steps.forward(StepInput(*own))

    @torch.inference_mode()
    def logits(self, start: int, end: int) -> None:
        """Of rows `start` to `end` of the last step's result."""
        with self._runner.warmup.held():
            self._runner.steps.logits(self._hidden[start:end])

    @torch.inference_mode()
    def greedy_tokens(self, start: int, end: int) -> None:
        """Of the same rows."""
        with self._runner.warmup.held():
            self._runner.steps.greedy_tokens(self._hidden[start:end])


def _sent(step: StepInput) -> list[Any]:
    """StepInput's fields, tensors as numpy arrays, but for the plan, which each rank makes for its own heads."""
    values = [getattr(step, each.name) for each in fields(step) if each.name != "plan"]
    return [value.numpy() if isinstance(value, Tensor) else value for value in values]
