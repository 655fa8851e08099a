"""Inputs of paged attention and their result in plain torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vllm.kernels.attention import packed_pair, paged_attention_varlen


def pack_keys(keys: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """[blocks, kv_heads, block_size, head_size] to the packed layout that `dtype` (their own) has."""
    return keys.unflatten(-1, (-1, packed_pair(dtype or keys.dtype))).transpose(2, 3).contiguous()


def pack_values(values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """[blocks, kv_heads, block_size, head_size] to the packed layout that `dtype` (their own) has."""
    return values.unflatten(2, (-1, packed_pair(dtype or values.dtype))).transpose(3, 4).contiguous()


@dataclass(frozen=True)
class AttentionCase:
    """Sequences are pairs (length, query tokens). Cache positions that no sequence wrote hold NaN."""

    sequences: tuple[tuple[int, int], ...]
    dtype: torch.dtype = torch.float32
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 64
    block_size: int = 16
    sliding_window: int = 0
    soft_cap: float = 0.0
    alibi: bool = False
    packed: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)

        def randn(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(self.dtype)

        def keep(**fields: object) -> None:
            for name, value in fields.items():
                object.__setattr__(self, name, value)

        lengths, query_lens = zip(*self.sequences, strict=True)
        blocks = [-(-length // self.block_size) for length in lengths]
        order = torch.randperm(sum(blocks) + 2, generator=generator).int()
        table = torch.zeros(len(lengths), max(1, *blocks) + 1, dtype=torch.int32)
        shape = (2, len(order), self.kv_heads, self.block_size, self.head_size)
        caches = torch.full(shape, math.nan).to(self.dtype)
        keys_values, used = [], 0
        for i, length in enumerate(lengths):
            table[i, : blocks[i]] = order[used : used + blocks[i]]
            used += blocks[i]
            keys_values.append(randn(2, length, self.kv_heads, self.head_size))
            position = torch.arange(length)
            block, slot = table[i, position // self.block_size].long(), position % self.block_size
            caches[:, block, :, slot] = keys_values[-1].transpose(0, 1)
        # As in the engine: queries are a view into the projection of queries, keys and values.
        tokens, width = sum(query_lens), self.heads * self.head_size
        qkv = randn(tokens, width + 2 * self.kv_heads * self.head_size)
        keep(
            query=qkv[:, :width].unflatten(-1, (self.heads, self.head_size)),
            key_cache=pack_keys(caches[0]) if self.packed else caches[0].transpose(1, 2),
            value_cache=pack_values(caches[1]) if self.packed else caches[1].transpose(1, 2),
            keys_values=keys_values,
            block_table=table,
            seq_lens=torch.tensor(lengths, dtype=torch.int32),
            query_start_loc=torch.tensor([0, *torch.tensor(query_lens).cumsum(0).tolist()], dtype=torch.int32),
            slopes=torch.rand(self.heads, generator=generator) if self.alibi else None,
            scale=self.head_size**-0.5,
        )

    def arguments(self, query: Tensor, starts: Tensor, lengths: Tensor, table: Tensor) -> tuple:
        caches = (self.key_cache, self.value_cache)
        return (query, *caches, starts, lengths, table, self.scale, self.sliding_window, self.soft_cap, self.slopes)

    def attend(self, out: Tensor, arguments: tuple, lse: Tensor | None = None) -> None:
        paged_attention_varlen(out, *arguments, lse)

    def run(self) -> tuple[Tensor, Tensor]:
        """Output [tokens, heads, head_size] and log-sum-exp [heads, tokens] of the kernel."""
        out, lse = torch.empty(self.query.shape, dtype=self.dtype), torch.empty(self.heads, len(self.query))
        inputs = self.arguments(self.query, self.query_start_loc, self.seq_lens, self.block_table)
        self.attend(out, inputs, lse)
        return out, lse

    def run_chunks(self, seq: int, chunk: int) -> Tensor:
        """The output of one sequence's tokens, given to the kernel `chunk` at a time and without the others."""
        start, end = self.query_start_loc[seq : seq + 2].tolist()
        outs = []
        for first in range(start, end, chunk):
            last = min(end, first + chunk)
            starts = torch.tensor([0, last - first], dtype=torch.int32)
            lengths = self.seq_lens[seq : seq + 1] - (end - last)
            outs.append(torch.empty(last - first, self.heads, self.head_size, dtype=self.dtype))
            table = self.block_table[seq : seq + 1]
            self.attend(outs[-1], self.arguments(self.query[first:last], starts, lengths, table))
        return torch.cat(outs)

    def expected(self) -> tuple[Tensor, Tensor]:
        """What `run` should give, in f64."""
        parts = [self._expected(i) for i, (_, query_len) in enumerate(self.sequences) if query_len]
        outs, lses = zip(*parts, strict=True)
        return torch.cat(outs), torch.cat(lses, 1)

    def _expected(self, seq: int) -> tuple[Tensor, Tensor]:
        length, query_len = self.sequences[seq]
        start = int(self.query_start_loc[seq])
        query = self.query[start : start + query_len].double()
        keys, values = self.keys_values[seq].double().repeat_interleave(self.heads // self.kv_heads, 2)
        logits = torch.einsum("qhd,khd->hqk", query, keys) * self.scale
        if self.soft_cap:
            logits = self.soft_cap * torch.tanh(logits / self.soft_cap)
        past = torch.arange(length - query_len, length).unsqueeze(1) - torch.arange(length)
        if self.slopes is not None:
            logits = logits - self.slopes.double()[:, None, None] * past
        hidden = (past < 0) | (past >= (self.sliding_window or length))
        logits = logits.masked_fill(hidden, -math.inf)
        return torch.einsum("hqk,khd->qhd", logits.softmax(-1), values), logits.logsumexp(-1)
