"""Token embeddings and the output head."""

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.kernels.op_set import OpSet
from vllm.layers.parallel_embedding import VocabParallelEmbedding, VocabParallelHead
from vllm.layers.screened_head import MIN_ELEMENTS, ScreenedHead
from vllm.partition import Part, Tile
from vllm.quantization.base import packed as pack_weights


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
        if self.screened is None:
            return None
        tokens = self.screened(hidden)
        if not self.screened.pays:
            self.screened = None
        return tokens


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

    __slots__ = ("_gather", "_packed")

    def __init__(self, head: OutputHead):
        self._gather, self._packed = head.ops.gather_packed_rows, head.packed

    def __call__(self, ids: Tensor, out: Tensor) -> None:
        self._gather(out, self._packed, ids)


def load_embedding_and_head(
    checkpoint: Checkpoint, name: str, head_name: str, rows: int, width: int, tied: bool
) -> tuple[Embedding | TiedEmbedding | VocabParallelEmbedding, OutputHead | VocabParallelHead]:
    """Reads the table `name` [rows, width] and, unless the two are tied, the weight of `head_name`.

    Where the head is quantised the embeddings keep their precision: rows of the checkpoint's file, not a second copy.
    """
    group, method = checkpoint.group, checkpoint.linear_method
    part = Part(group.rank, group.size, ragged=True)
    first, end = part.bounds(rows)
    if first == end:
        raise ModelError(f"a vocabulary of {rows} cannot be split between tensor_parallel_size={group.size} ranks")
    weight = method.read(checkpoint, name if tied else head_name, rows, width, Tile(rows=part))
    head = OutputHead(checkpoint.ops, pack_weights(checkpoint, [weight]), end - first, width)
    if checkpoint.ops.screens_heads and group.size == 1 and isinstance(weight, Tensor):
        head.screen(weight.to(checkpoint.dtype))
    embedding: Embedding | TiedEmbedding
    if tied and not method.quantizes:
        embedding = TiedEmbedding(head)
    else:
        embedding = Embedding(checkpoint.take(f"{name}.weight", (rows, width), (part,)))
    if group.size == 1:
        return embedding, head
    return (
        VocabParallelEmbedding(embedding, first, end - first, group),
        VocabParallelHead(head, -(-rows // group.size), rows, group),
    )
