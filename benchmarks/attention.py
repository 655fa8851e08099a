#!/usr/bin/env python3
"""Time paged attention beside torch's scaled_dot_product_attention over contiguous keys and values.

    python benchmarks/attention.py [--case NAME] [--dtype bfloat16|float16|float32] [--memory GB/s] [--compute GFLOP/s]
                                   [--cache int8|fp8]

Torch is given what it handles best: no paging, sequences of one length in one call, keys and values of all of them
side by side. The limit is the larger of the times that reading the cache and doing the arithmetic need. With --cache
the same over a cache in 8 bits (int8 with a scale for each token and head, or e4m3), and how much faster that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kernels import seconds_per_call
from limits import limit_parser, prepare

from vllm.kernels.attention import packed_pair, paged_attention_varlen
from vllm.kernels.quantized_cache import paged_attention_varlen_quantized

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


class Inputs:
    """A case's tensors; `call` computes attention of all its sequences."""

    def __init__(self, case: Case, dtype: torch.dtype):
        self.case, self.dtype = case, dtype
        blocks = -(-case.length // BLOCK_SIZE)
        pair, count = packed_pair(dtype), case.seqs * blocks
        self.keys = torch.randn(count, case.kv_heads, case.head_size // pair, BLOCK_SIZE, pair).to(dtype)
        self.values = torch.randn(count, case.kv_heads, BLOCK_SIZE // pair, case.head_size, pair).to(dtype)
        self.scales: tuple[torch.Tensor, ...] = ()
        self.table = torch.randperm(case.seqs * blocks).int().view(case.seqs, blocks)
        self.starts = torch.arange(case.seqs + 1, dtype=torch.int32) * case.query_len
        self.lengths = torch.full((case.seqs,), case.length, dtype=torch.int32)
        self.query = torch.randn(case.seqs * case.query_len, case.heads, case.head_size).to(dtype)
        self.out = torch.empty_like(self.query)

    def quantized(self, cache: str) -> Inputs:
        """Codes of the same shape, whose values do not matter."""
        codes = Inputs(self.case, self.dtype)
        shape = (self.keys.shape[0], self.case.kv_heads, BLOCK_SIZE)
        codes.scales = tuple(torch.rand(shape) / 64 if cache == "int8" else torch.ones(1) for _ in range(2))
        to = torch.int8 if cache == "int8" else torch.float8_e4m3fn
        codes.keys, codes.values = ((x.float() * 32).to(to) for x in (self.keys, self.values))
        return codes

    def call(self) -> None:
        attend = paged_attention_varlen_quantized if self.scales else paged_attention_varlen
        caches = (self.keys, self.values, *self.scales)
        attend(self.out, self.query, *caches, self.starts, self.lengths, self.table, self.case.head_size**-0.5)


def measure_torch(case: Case, dtype: torch.dtype, seconds: float) -> float:
    """Seconds a call takes in torch."""
    query = torch.randn(case.seqs, case.heads, case.query_len, case.head_size).to(dtype)
    dense = torch.randn(2, case.seqs, case.kv_heads, case.length, case.head_size).to(dtype)
    return seconds_per_call(
        lambda: F.scaled_dot_product_attention(query, *dense, is_causal=case.query_len > 1, enable_gqa=True), seconds
    )


def main() -> None:
    parser = limit_parser(__doc__, seconds=0.5)
    parser.add_argument("--case", help="only cases whose name contains this")
    parser.add_argument("--cache", choices=("int8", "fp8"), help="time a cache in 8 bits too")
    arguments = parser.parse_args()
    dtype = prepare(arguments)
    in_8_bits = f" {arguments.cache + ' us':>10} {'faster':>7}" if arguments.cache else ""
    print(f"{'case':20} {'us':>10} {'GB/s':>6} {'GFLOP/s':>8} {'limit':>6} {'torch us':>10} {'faster':>7}{in_8_bits}")
    for case in CASES:
        if arguments.case and arguments.case not in case.name:
            continue
        inputs = Inputs(case, dtype)
        seconds = seconds_per_call(inputs.call, arguments.seconds)
        in_torch = measure_torch(case, dtype, arguments.seconds)
        if arguments.cache:
            eight = seconds_per_call(inputs.quantized(arguments.cache).call, arguments.seconds)
            in_8_bits = f" {eight * 1e6:10.1f} {seconds / eight:6.2f}x"
        pairs = case.query_len * (case.length - (case.query_len - 1) / 2)  # of query and key positions
        gigaflops = 4e-9 * case.seqs * case.heads * case.head_size * pairs
        gigabytes = 2e-9 * case.seqs * case.length * case.kv_heads * case.head_size * dtype.itemsize
        limit = max(gigabytes / arguments.memory, gigaflops / arguments.compute)
        print(
            f"{case.name:20} {seconds * 1e6:10.1f} {gigabytes / seconds:6.1f} {gigaflops / seconds:8.1f}"
            f" {limit / seconds:6.0%} {in_torch * 1e6:10.1f} {in_torch / seconds:6.2f}x{in_8_bits}",
            flush=True,
        )


if __name__ == "__main__":
    main()
