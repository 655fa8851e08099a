"""The tensors of one step."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(slots=True)
class StepInput:
    """Tokens of all sequences one after another; a sequence's query tokens are its last ones.

    Attributes:
        token_ids, positions: [tokens] i64.
        slot_mapping: [tokens] i64, block * block_size + offset: where each token's key and value go.
        query_start_loc: [sequences + 1] i32, where each sequence's tokens begin.
        seq_lens: [sequences] i32, tokens in the cache after this step.
        block_table: [sequences, most blocks of any] i32; what is beyond a sequence's blocks is never read.
        logits_indices: [rows] i64, the tokens whose logits are wanted; None for all of them.
        num_new_tokens, starts: [sequences], tokens of this step and tokens before them, for the host.
        plan: what an attention backend works out once for all layers.
    """

    token_ids: Tensor
    positions: Tensor
    slot_mapping: Tensor
    query_start_loc: Tensor
    seq_lens: Tensor
    block_table: Tensor
    logits_indices: Tensor | None
    num_new_tokens: list[int]
    starts: list[int]
    plan: Any = None

    @property
    def num_tokens(self) -> int:
        return self.token_ids.shape[0]

    @property
    def shape_key(self) -> tuple[int, ...]:
        """The same for steps of the same sizes in the same memory, whatever it holds."""
        return (
            self.num_tokens,
            self.seq_lens.shape[0],
            self.positions.data_ptr(),
            self.slot_mapping.data_ptr(),
            self.query_start_loc.data_ptr(),
            self.seq_lens.data_ptr(),
            self.block_table.data_ptr(),
            self.block_table.stride(0),
        )

    def wanted(self, hidden: Tensor) -> Tensor:
        """Rows of `hidden` [tokens, width] whose logits are wanted."""
        return hidden if self.logits_indices is None else hidden.index_select(0, self.logits_indices)
