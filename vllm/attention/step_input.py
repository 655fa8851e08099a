"""The tensors of one step."""

from dataclasses import dataclass

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
    """

    token_ids: Tensor
    positions: Tensor
    slot_mapping: Tensor
    query_start_loc: Tensor
    seq_lens: Tensor
    block_table: Tensor
    logits_indices: Tensor | None

    @property
    def num_tokens(self) -> int:
        return self.token_ids.shape[0]

    def wanted(self, hidden: Tensor) -> Tensor:
        """Rows of `hidden` [tokens, width] whose logits are wanted."""
        return hidden if self.logits_indices is None else hidden.index_select(0, self.logits_indices)
