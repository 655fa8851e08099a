"""A step's inputs on the device: tensors that stay where they are, so that captured steps find them."""

import torch
from torch import Tensor

from vllm.attention.step_input import StepInput


class _Staged:
    """Memory on the host, pinned for CUDA, and as much on the device."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device):
        self._host = torch.zeros(size, dtype=dtype, pin_memory=device.type == "cuda")
        self._device = torch.zeros(size, dtype=dtype, device=device)

    def send(self, values: Tensor, shape: tuple[int, ...], padding: int) -> Tensor:
        """`values` in the first rows and columns of `shape`, the rest `padding`; on its way when this returns."""
        size = 1
        for each in shape:
            size *= each
        host = self._host[:size].view(shape)
        if values.shape != shape:
            host.fill_(padding)
        host[tuple(map(slice, values.shape))] = values
        sent = self._device[:size].view(shape)
        sent.copy_(host, non_blocking=True)
        return sent


class DeviceInput:
    """Buffers for the largest step. A step that is sent replaces the one before it."""

    def __init__(
        self, device: torch.device, max_num_seqs: int, max_num_tokens: int, max_blocks: int, padding_block: int,
        block_size: int,
    ):  # fmt: skip
        """Tokens that pad a step are stored in `padding_block` of the KV cache, which no sequence has."""
        self._device, self._padding_block, self._block_size = device, padding_block, block_size
        self._token_ids, self._positions, self._slots, self._wanted = (
            _Staged(max_num_tokens, torch.int64, device) for _ in range(4)
        )
        self._query_start = _Staged(max_num_seqs + 1, torch.int32, device)
        self._seq_lens = _Staged(max_num_seqs, torch.int32, device)
        self._block_table = _Staged(max_num_seqs * max_blocks, torch.int32, device)
        self._sent = torch.cuda.Event() if device.type == "cuda" else None

    def send(self, step: StepInput, decode_shape: tuple[int, int] | None = None) -> StepInput:
        """The step on the device; one that only decodes padded to `decode_shape`, sequences and blocks of each."""
        if self._sent is not None:
            self._sent.synchronize()  # what was sent before has left the host's memory
        tokens, sequences, width = step.num_tokens, *step.block_table.shape
        counts, starts = step.num_new_tokens, step.starts
        query_start = step.query_start_loc
        if decode_shape is not None:
            missing = decode_shape[0] - sequences
            tokens, (sequences, width) = decode_shape[0], decode_shape
            counts, starts = counts + [1] * missing, starts + [0] * missing
            query_start = torch.arange(sequences + 1, dtype=torch.int32)
        wanted = step.logits_indices
        sent = StepInput(
            token_ids=self._token_ids.send(step.token_ids, (tokens,), 0),
            positions=self._positions.send(step.positions, (tokens,), 0),
            slot_mapping=self._slots.send(step.slot_mapping, (tokens,), self._padding_block * self._block_size),
            query_start_loc=self._query_start.send(query_start, (sequences + 1,), 0),
            seq_lens=self._seq_lens.send(step.seq_lens, (sequences,), 1),
            block_table=self._block_table.send(step.block_table, (sequences, width), self._padding_block),
            logits_indices=None if wanted is None else self._wanted.send(wanted, tuple(wanted.shape), 0),
            num_new_tokens=counts,
            starts=starts,
        )
        if self._sent is not None:
            self._sent.record()
        return sent
