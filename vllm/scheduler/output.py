"""What the scheduler tells the worker, and what the worker answers."""

from dataclasses import dataclass, field

from vllm.messages import TokenLogprobs
from vllm.scheduler.request import Request


@dataclass(slots=True)
class ScheduledStep:
    """One step's batch.

    Attributes:
        requests: the sequences that compute tokens.
        num_new_tokens: how many each computes, from its num_computed_tokens on.
        released: ids of sequences that finished, were aborted or preempted since the last step.
    """

    requests: list[Request] = field(default_factory=list)
    num_new_tokens: list[int] = field(default_factory=list)
    released: list[str] = field(default_factory=list)


@dataclass(slots=True)
class StepResult:
    """What a step computed, in the order of ScheduledStep.requests.

    Attributes:
        sampled: new tokens of each sequence; empty while its prompt is not complete.
        logprobs: of each new token, for sequences that asked (by index into the batch); more where drafts were dropped.
        prompt_logprobs: of the prompt tokens after those that were computed, for sequences that asked.
    """

    sampled: list[list[int]]
    logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
