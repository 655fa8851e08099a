"""What the runner needs of a model."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vllm.attention.paged import PagedAttention
from vllm.attention.step_input import StepInput
from vllm.checkpoint import Checkpoint


@dataclass(slots=True)
class BuildContext:
    """What a model is built from. Its weights come from `checkpoint`, in `dtype`.

    A step has at most `max_tokens` tokens, a sequence at most `max_model_len`.
    """

    hf_config: dict[str, Any]
    checkpoint: Checkpoint
    dtype: torch.dtype
    max_tokens: int
    max_model_len: int


class Steps(Protocol):
    """What computes steps: a model, or what has one compute them on a device or on several ranks."""

    def forward(self, step: StepInput) -> Tensor:
        """Final hidden states of the tokens whose logits are wanted [rows, hidden]; valid until the next call."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Rows of forward's result [rows, hidden] to [rows, vocab_size] f32; valid until the next call."""

    def greedy_tokens(self, hidden: Tensor) -> Tensor | None:
        """The argmax of `logits` [rows] i64, where the model knows it without them."""


class Model(Steps, Protocol):
    """A causal language model. Built as `Model(context)`, which loads its weights."""

    attentions: list[PagedAttention]  # one a layer, to be bound to the KV cache
    vocab_size: int
    only_wanted: tuple[object, ...]  # layers that compute the rows whose logits are wanted and no others

    @staticmethod
    def ignored_weights(hf_config: dict[str, Any]) -> tuple[str, ...]:
        """Weights that a checkpoint may hold and that are not needed, such as a tied output weight."""
