"""Builds a step's tensors from the scheduler's decision, in numpy buffers that live as long as the worker."""

import numpy as np
import torch
from torch import Tensor

from vllm.scheduler.output import ScheduledStep
from vllm.scheduler.request import Request
from vllm.worker.step_input import StepInput


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
        self._seq_lens = _Buffer(max_num_seqs, np.int32)
        self._block_table = _Buffer(max_num_seqs * max_blocks, np.int32)

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
        tokens: list[int] = []
        for request, start, count in zip(requests, starts, counts, strict=True):
            if count == 1:
                tokens.append(request.token_ids[start])
            else:
                tokens.extend(request.token_ids[start : start + count])
        num_tokens = len(tokens)
        self._token_ids.array[:num_tokens] = tokens
        row_array, start_array = np.array(rows), np.array(starts)
        self._fill_sequences(start_array, np.array(counts))
        self._fill_positions(row_array, start_array, counts, num_tokens)
        return StepInput(
            token_ids=self._token_ids.view(num_tokens),
            positions=self._positions.view(num_tokens),
            slot_mapping=self._slots.view(num_tokens),
            query_start_loc=self._query_start.view(len(rows) + 1),
            seq_lens=self._seq_lens.view(len(rows)),
            block_table=self._gather_block_table(row_array),
            logits_indices=None if wanted is None else torch.tensor(wanted, dtype=torch.int64),
        )

    def _row(self, request: Request) -> int:
        """The sequence's row, with all of its blocks written to it."""
        row = self._rows.get(request.request_id)
        if row is None:
            row = self._rows[request.request_id] = self._free_rows.pop()
        blocks, written = request.blocks.block_ids, self._row_blocks[row]
        if len(blocks) > written:
            self._block_rows[row, written : len(blocks)] = blocks[written:]
            self._row_blocks[row] = len(blocks)
        return row

    def _fill_sequences(self, starts: np.ndarray, counts: np.ndarray) -> None:
        np.cumsum(counts, out=self._query_start.array[1 : len(counts) + 1])
        np.add(starts, counts, out=self._seq_lens.array[: len(counts)], casting="same_kind")

    def _fill_positions(self, rows: np.ndarray, starts: np.ndarray, counts: list[int], num_tokens: int) -> None:
        positions = self._positions.array[:num_tokens]
        if num_tokens == len(counts):  # decode only: a token a sequence
            positions[:] = starts
        else:
            offsets = starts - self._query_start.array[: len(counts)]
            np.add(np.repeat(offsets, counts), np.arange(num_tokens), out=positions)
            rows = np.repeat(rows, counts)
        block, offset = np.divmod(positions, self._block_size)
        np.add(
            self._block_rows[rows, block].astype(np.int64) * self._block_size,
            offset,
            out=self._slots.array[:num_tokens],
        )

    def _gather_block_table(self, rows: np.ndarray) -> Tensor:
        """[sequences, most blocks of any] of the rows in the batch's order."""
        width = -(-int(self._seq_lens.array[: len(rows)].max()) // self._block_size)
        size = len(rows) * width
        table = self._block_table.array[:size].reshape(len(rows), width)
        np.take(self._block_rows[:, :width], rows, axis=0, out=table)
        return self._block_table.view(size).view(len(rows), width)
