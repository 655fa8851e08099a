"""Token embeddings, and how they are read together with the output head."""

import torch
from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.layers.output_head import OutputHead
from vllm.layers.parallel_embedding import VocabParallelEmbedding, VocabParallelHead
from vllm.partition import Part, Tile
from vllm.quantization.base import packed as pack_weights


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
    if checkpoint.ops.screens_heads and isinstance(weight, Tensor):
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
