#!/usr/bin/env python3
"""Time paged attention beside torch's scaled_dot_product_attention over contiguous keys and values.

    python benchmarks/attention.py [--case NAME] [--dtype bfloat16|float16|float32] [--memory GB/s] [--compute GFLOP/s]

Torch is given what it handles best: no paging, sequences of one length in one call, keys and values of all of them
side by side. The limit is the larger of the times that reading the cache and doing the arithmetic need.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kernels import seconds_per_call
from limits import limit_parser, prepare

from vllm.kernels.attention import packed_pair, paged_attention_varlen

BLOCK_SIZE = 32


@dataclass(frozen=True)
class Case:
    name: str
    heads: int
    kv_heads: int
    head_size: int
    seqs: int
    length: int
    query_len: int


CASES = (
    Case("135m decode", 9, 3, 64, 32, 160, 1),
    Case("135m decode, long", 9, 3, 64, 4, 8192, 1),
    Case("135m prefill", 9, 3, 64, 1, 900, 900),
    Case("0.5b decode", 14, 2, 64, 16, 160, 1),
    Case("0.5b decode, one", 14, 2, 64, 1, 4096, 1),
    Case("0.5b decode, long", 14, 2, 64, 4, 8192, 1),
    Case("0.5b prefill", 14, 2, 64, 1, 900, 900),
    Case("0.5b prefill, long", 14, 2, 64, 1, 4096, 4096),
    Case("8b decode", 32, 8, 128, 4, 2048, 1),
    Case("8b prefill", 32, 8, 128, 1, 1024, 1024),
)


def measure(case: Case, dtype: torch.dtype, seconds: float) -> tuple[float, float]:
    """Seconds a call takes here and in torch."""
    blocks = -(-case.length // BLOCK_SIZE)
    pair, count = packed_pair(dtype), case.seqs * blocks
    keys = torch.randn(count, case.kv_heads, case.head_size // pair, BLOCK_SIZE, pair).to(dtype)
    values = torch.randn(count, case.kv_heads, BLOCK_SIZE // pair, case.head_size, pair).to(dtype)
    table = torch.randperm(case.seqs * blocks).int().view(case.seqs, blocks)
    starts = torch.arange(case.seqs + 1, dtype=torch.int32) * case.query_len
    lengths = torch.full((case.seqs,), case.length, dtype=torch.int32)
    query = torch.randn(case.seqs * case.query_len, case.heads, case.head_size).to(dtype)
    out, scale = torch.empty_like(query), case.head_size**-0.5
    ours = seconds_per_call(
        lambda: paged_attention_varlen(out, query, keys, values, starts, lengths, table, scale), seconds
    )
    dense_query = query.unflatten(0, (case.seqs, -1)).transpose(1, 2).contiguous()
    dense = torch.randn(2, case.seqs, case.kv_heads, case.length, case.head_size).to(dtype)
    in_torch = seconds_per_call(
        lambda: F.scaled_dot_product_attention(dense_query, *dense, is_causal=case.query_len > 1, enable_gqa=True),
        seconds,
    )
    return ours, in_torch


def main() -> None:
    parser = limit_parser(__doc__, seconds=0.5)
    parser.add_argument("--case", help="only cases whose name contains this")
    arguments = parser.parse_args()
    dtype = prepare(arguments)
    print(f"{'case':20} {'us':>10} {'GB/s':>6} {'GFLOP/s':>8} {'limit':>6} {'torch us':>10} {'faster':>7}")
    for case in CASES:
        if arguments.case and arguments.case not in case.name:
            continue
        seconds, in_torch = measure(case, dtype, arguments.seconds)
        pairs = case.query_len * (case.length - (case.query_len - 1) / 2)  # of query and key positions
        gigaflops = 4e-9 * case.seqs * case.heads * case.head_size * pairs
        gigabytes = 2e-9 * case.seqs * case.length * case.kv_heads * case.head_size * dtype.itemsize
        limit = max(gigabytes / arguments.memory, gigaflops / arguments.compute)
        print(
            f"{case.name:20} {seconds * 1e6:10.1f} {gigabytes / seconds:6.1f} {gigaflops / seconds:8.1f}"
            f" {limit / seconds:6.0%} {in_torch * 1e6:10.1f} {in_torch / seconds:6.2f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
