"""Embeddings and output head split between ranks by the vocabulary."""

from collections.abc import Callable

import torch
from torch import Tensor

from vllm.distributed.group import Group
from vllm.layers.output_head import OutputHead


class VocabParallelEmbedding:
    """Each rank looks up the tokens of its part; the rows of all others are zeros, so that the sum has every row."""

    __slots__ = ("_embedding", "_first", "_group", "_rows")

    def __init__(self, embedding: Callable[[Tensor, Tensor], None], first: int, rows: int, group: Group):
        """embedding: (ids, out) for tokens from `first` on, `rows` of them."""
        self._embedding, self._first, self._rows, self._group = embedding, first, rows, group

    def __call__(self, ids: Tensor, out: Tensor) -> None:
        """ids [tokens] i64 to out [tokens, width]."""
        own = ids - self._first
        others = (own < 0) | (own >= self._rows)
        self._embedding(own.masked_fill_(others, 0), out)
        out.masked_fill_(others.unsqueeze(1), 0)
        self._group.all_reduce(out)


class VocabParallelHead:
    """Each rank computes the logits of its part of the vocabulary; the first rank puts them together."""

    __slots__ = ("_group", "_head", "_part_size", "_vocab_size")

    def __init__(self, head: OutputHead, part_size: int, vocab_size: int, group: Group):
        """head: of at most `part_size` tokens."""
        self._head, self._part_size, self._vocab_size, self._group = head, part_size, vocab_size, group

    def __call__(self, hidden: Tensor) -> Tensor:
        """[rows, width] to [rows, vocab_size] f32 on the first rank; on others the result is of no use."""
        logits = self._head(hidden)
        missing = self._part_size - logits.shape[1]
        parts = self._group.gather(torch.nn.functional.pad(logits, (0, missing)) if missing else logits)
        return torch.cat(parts, dim=1)[:, : self._vocab_size].contiguous() if parts else logits

    def greedy_tokens(self, hidden: Tensor) -> Tensor:
        """[rows, width] to the argmax [rows] i64 of the logits on the first rank; on others the result is of no use.

        Of each row a rank sends the likeliest of its tokens and that one's logit instead of all logits.
        """
        tokens, logits = self._head.likeliest(hidden)
        found = self._group.gather(torch.stack((logits, tokens.int().view(torch.float32)), dim=1))
        if not found:
            return tokens
        logits, tokens = torch.stack(found, dim=2).unbind(dim=1)  # [rows, ranks]
        rank = logits.argmax(dim=1, keepdim=True)  # of equal logits the first
        return (tokens.gather(1, rank).view(torch.int32) + rank * self._part_size).squeeze(1)
