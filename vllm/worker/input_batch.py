"""Builds a step's tensors from the scheduler's decision, in numpy buffers that live as long as the worker."""

import numpy as np
import torch
from torch import Tensor

from vllm.attention.step_input import StepInput
from vllm.scheduler.output import ScheduledStep
from vllm.scheduler.request import Request


class _Buffer:
    """A numpy array and the torch tensor over the same memory; tensor views of a length are made once."""

    def __init__(self, size: int, dtype: type):
        self.array = np.zeros(size, dtype)
        self._tensor = torch.from_numpy(self.array)
        self._length = -1
        self._view = self._tensor

    def view(self, length: int) -> Tensor:
        if length != self._length:
            self._length, self._view = length, self._tensor[:length]
        return self._view


class InputBatch:
    """A row of the block table for each running sequence, and the buffers of StepInput."""

    def __init__(self, max_num_seqs: int, max_num_tokens: int, max_model_len: int, block_size: int):
        self._block_size = block_size
        max_blocks = -(-max_model_len // block_size)
        self._block_rows = np.zeros((max_num_seqs, max_blocks), np.int32)
        self._rows: dict[str, int] = {}
        self._row_blocks = [0] * max_num_seqs  # how many of a row's blocks are written
        self._free_rows = list(reversed(range(max_num_seqs)))
        self._token_ids = _Buffer(max_num_tokens, np.int64)
        self._positions = _Buffer(max_num_tokens, np.int64)
        self._slots = _Buffer(max_num_tokens, np.int64)
        self._query_start = _Buffer(max_num_seqs + 1, np.int32)
        self._counted = 0  # _query_start holds 0, 1, 2, ... up to this
        self._seq_lens = _Buffer(max_num_seqs, np.int32)
        # Rows in the batch's order. Their distance never changes, so that steps of one shape read the same addresses.
        self._block_table = np.zeros((max_num_seqs, max_blocks), np.int32)
        self._block_table_view = torch.from_numpy(self._block_table)[:0]
        self._gathered: tuple[list[int], int] = ([], 0)  # what the view was made of
        self._rows_changed = False

    def release(self, request_ids: list[str]) -> None:
        """Frees rows of sequences that finished or were preempted; those that never ran have none."""
        for request_id in request_ids:
            if (row := self._rows.pop(request_id, None)) is not None:
                self._row_blocks[row] = 0
                self._free_rows.append(row)

    def build(self, step: ScheduledStep, wanted: list[int] | None) -> StepInput:
        """The step's tensors, valid until the next call. `wanted`: tokens whose logits are needed; None: all."""
        requests, counts = step.requests, step.num_new_tokens
        rows = [self._row(request) for request in requests]
        starts = [request.num_computed_tokens for request in requests]
        num_tokens = sum(counts)
        if num_tokens == len(rows):
            self._fill_decode(requests, starts)
        else:
            self._fill_mixed(requests, np.array(rows), starts, counts, num_tokens)
        longest = max(start + count for start, count in zip(starts, counts, strict=True))
        return StepInput(
            token_ids=self._token_ids.view(num_tokens),
            positions=self._positions.view(num_tokens),
            slot_mapping=self._slots.view(num_tokens),
            query_start_loc=self._query_start.view(len(rows) + 1),
            seq_lens=self._seq_lens.view(len(rows)),
            block_table=self._gather_block_table(rows, -(-longest // self._block_size)),
            logits_indices=None if wanted is None else torch.tensor(wanted, dtype=torch.int64),
            num_new_tokens=counts,
            starts=starts,
        )

    def _fill_decode(self, requests: list[Request], starts: list[int]) -> None:
        """A token a sequence. A few numbers are faster in Python than in numpy."""
        count, size = len(starts), self._block_size
        self._token_ids.array[:count] = [r.token_ids[at] for r, at in zip(requests, starts, strict=True)]
        self._positions.array[:count] = starts
        self._slots.array[:count] = [
            r.blocks.block_ids[at // size] * size + at % size for r, at in zip(requests, starts, strict=True)
        ]
        self._seq_lens.array[:count] = [at + 1 for at in starts]
        if self._counted < count:
            self._query_start.array[: count + 1] = range(count + 1)
            self._counted = count

    def _fill_mixed(
        self, requests: list[Request], rows: np.ndarray, starts: list[int], counts: list[int], num_tokens: int
    ) -> None:
        """Any number of tokens a sequence."""
        tokens: list[int] = []
        for request, start, count in zip(requests, starts, counts, strict=True):
            tokens += request.token_ids[start : start + count]
            tokens += request.draft
        self._token_ids.array[:num_tokens] = tokens
        sequences, self._counted = len(counts), 0
        np.cumsum(counts, out=self._query_start.array[1 : sequences + 1])
        np.add(starts, counts, out=self._seq_lens.array[:sequences], casting="same_kind")
        positions = self._positions.array[:num_tokens]
        offsets = np.array(starts) - self._query_start.array[:sequences]
        np.add(np.repeat(offsets, counts), np.arange(num_tokens), out=positions)
        block, offset = np.divmod(positions, self._block_size)
        blocks = self._block_rows[np.repeat(rows, counts), block].astype(np.int64)
        np.add(blocks * self._block_size, offset, out=self._slots.array[:num_tokens])

    def _row(self, request: Request) -> int:
        """The sequence's row, with all of its blocks written to it."""
        row = self._rows.get(request.request_id)
        if row is None:
            row = self._rows[request.request_id] = self._free_rows.pop()
        blocks, written = request.blocks.block_ids, self._row_blocks[row]
        if len(blocks) > written:
            self._block_rows[row, written : len(blocks)] = blocks[written:]
            self._row_blocks[row] = len(blocks)
            self._rows_changed = True
        return row

    def _gather_block_table(self, rows: list[int], width: int) -> Tensor:
        """[sequences, width] of the rows in the batch's order; the last step's, where nothing has changed."""
        if (rows, width) != self._gathered or self._rows_changed:
            self._block_table[: len(rows), :width] = self._block_rows[rows, :width]
            self._block_table_view = torch.from_numpy(self._block_table)[: len(rows), :width]
            self._gathered, self._rows_changed = (rows, width), False
        return self._block_table_view
