"""The output head: hidden states to logits, or to the likeliest tokens."""

import torch
from torch import Tensor

from vllm.kernels.op_set import OpSet
from vllm.layers.screened_head import MIN_ELEMENTS, ScreenedHead


class OutputHead:
    """Hidden states to logits over the vocabulary."""

    __slots__ = ("_logits", "ops", "packed", "screened", "vocab_size", "width")

    def __init__(self, ops: OpSet, packed: Tensor, vocab_size: int, width: int):
        """packed: of a weight [vocab_size, width] (vllm.kernels.linear)."""
        self.ops = ops
        self.vocab_size, self.width = vocab_size, width
        self.packed = packed
        # As large as any call needed: new memory for every step's megabytes costs more than some of its kernels.
        self._logits = torch.empty(0, vocab_size, dtype=torch.float32)
        self.screened: ScreenedHead | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        """[rows, width] to [rows, vocab_size] f32, valid until the next call."""
        rows = hidden.shape[0]
        if rows > self._logits.shape[0]:
            self._logits = hidden.new_empty(rows, self.vocab_size, dtype=torch.float32)
        logits = self._logits[:rows]
        self.ops.linear_packed(logits, hidden, self.packed)
        return logits

    def screen(self, weight: Tensor) -> None:
        """Makes `greedy_tokens` faster than the logits, by an 8-bit copy of the weight; not for small heads."""
        if weight.numel() >= MIN_ELEMENTS:
            self.screened = ScreenedHead(weight, self.packed)

    def greedy_tokens(self, hidden: Tensor) -> Tensor | None:
        """[rows, width] to the argmax [rows] i64 of the logits, the first of several; None: it is in the logits."""
        return None if self.screened is None else self.likeliest(hidden)[0]

    def likeliest(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[rows, width] to the argmax [rows] i64 of the logits, the first of several, and its logits [rows] f32."""
        if self.screened is None:
            logits, tokens = self(hidden).max(dim=1)
            return tokens, logits
        found = self.screened(hidden)
        if not self.screened.pays:
            self.screened = None
        return found
