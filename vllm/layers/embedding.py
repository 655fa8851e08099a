"""Token embeddings and the output head."""

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.kernels.linear import gather_packed_rows, linear_packed, pack_linear_weight


class OutputHead:
    """Hidden states to logits over the vocabulary."""

    __slots__ = ("packed", "vocab_size")

    def __init__(self, weight: Tensor):
        """weight [vocab_size, width] is packed and can be dropped."""
        self.vocab_size = weight.shape[0]
        self.packed = pack_linear_weight(weight)

    def __call__(self, hidden: Tensor) -> Tensor:
        """[rows, width] to [rows, vocab_size] f32."""
        logits = torch.empty(hidden.shape[0], self.vocab_size, dtype=torch.float32)
        linear_packed(logits, hidden, self.packed)
        return logits


class Embedding:
    """Rows of a table, which may be a view of the checkpoint's file."""

    __slots__ = ("_table",)

    def __init__(self, table: Tensor):
        self._table = table

    def __call__(self, ids: Tensor, out: Tensor) -> None:
        """ids [tokens] i64 to out [tokens, width]."""
        torch.index_select(self._table, 0, ids, out=out)


class TiedEmbedding:
    """Rows of an output head's packed weight: one copy of the table serves both ends of the model."""

    __slots__ = ("_packed",)

    def __init__(self, head: OutputHead):
        self._packed = head.packed

    def __call__(self, ids: Tensor, out: Tensor) -> None:
        gather_packed_rows(out, self._packed, ids)


def load_embedding_and_head(
    checkpoint: Checkpoint, name: str, head_name: str, rows: int, width: int, tied: bool
) -> tuple[Embedding | TiedEmbedding, OutputHead]:
    """Reads `name.weight` [rows, width] and, unless the two are tied, `head_name.weight`."""
    table = checkpoint.take(f"{name}.weight", (rows, width))
    if tied:
        head = OutputHead(table)
        return TiedEmbedding(head), head
    return Embedding(table), OutputHead(checkpoint.take(f"{head_name}.weight", (rows, width)))
