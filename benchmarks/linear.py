#!/usr/bin/env python3
"""Time packed linear layers of two models beside torch, and as a share of what memory and arithmetic allow.

    python benchmarks/linear.py [--model 135m|0.5b] [--rows 1 16 900] [--memory GB/s] [--compute GFLOP/s]

Weights are read in turn from copies that exceed the caches together, as the layers of a model do. The limit is the
larger of the times that moving the bytes and doing the arithmetic need; --memory and --compute describe the machine.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from kernels import seconds_per_call
from limits import limit_parser, prepare

from vllm.kernels import linear

MODELS = {
    "135m": {"qkv": (960, 576), "o": (576, 576), "gate_up": (3072, 576), "down": (576, 1536), "head": (49152, 576)},
    "0.5b": {"qkv": (1152, 896), "o": (896, 896), "gate_up": (9728, 896), "down": (896, 4864), "head": (151936, 896)},
}
CACHE_BYTES = 80 << 20
HEAD_ROWS = 64  # the output head sees only the rows that are sampled


def layer(n: int, k: int, fused: bool, dtype: torch.dtype) -> tuple[int, Callable, Callable]:
    """Number of copies of a layer, and for an input what runs all of them, here and in torch."""
    count = max(1, CACHE_BYTES // (n * k * dtype.itemsize))
    weights = [torch.randn(n, k, dtype=dtype) for _ in range(count)]
    packed = [(linear.pack_gate_up_weight if fused else linear.pack_linear_weight)(weight) for weight in weights]

    def ours(x: torch.Tensor) -> Callable[[], None]:
        out = x.new_empty(len(x), n // 2 if fused else n)
        run = linear.linear_packed_silu_and_mul if fused else linear.linear_packed

        def call() -> None:
            for weight in packed:
                run(out, x, weight)

        return call

    def in_torch(x: torch.Tensor) -> Callable[[], None]:
        def call() -> None:
            for weight in weights:
                y = F.linear(x, weight)
                if fused:
                    F.silu(y[:, : n // 2]).mul_(y[:, n // 2 :])

        return call

    return count, ours, in_torch


def main() -> None:
    parser = limit_parser(__doc__, seconds=0.3)
    parser.add_argument("--model", choices=MODELS, help="default: both")
    parser.add_argument("--layer", help="only layers whose name contains this")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16, 64, 256, 900])
    arguments = parser.parse_args()
    dtype = prepare(arguments)
    print(f"{'layer':16} {'rows':>5} {'us':>10} {'GB/s':>6} {'GFLOP/s':>8} {'limit':>6} {'torch us':>10} {'faster':>7}")
    for model in [arguments.model] if arguments.model else MODELS:
        for name, (n, k) in MODELS[model].items():
            if arguments.layer and arguments.layer not in name:
                continue
            count, ours, in_torch = layer(n, k, name == "gate_up", dtype)
            for rows in arguments.rows:
                if name == "head" and rows > HEAD_ROWS:
                    continue
                x = torch.randn(rows, k, dtype=dtype)
                us, torch_us = (seconds_per_call(f(x), arguments.seconds) / count * 1e6 for f in (ours, in_torch))
                gigabytes, gigaflops = (n * k + rows * (n + k)) * dtype.itemsize * 1e-9, 2e-9 * rows * n * k
                limit = max(gigabytes / arguments.memory, gigaflops / arguments.compute) * 1e6
                rates = f"{gigabytes / us * 1e6:6.1f} {gigaflops / us * 1e6:8.1f} {limit / us:6.0%}"
                compared = f"{torch_us:10.1f} {torch_us / us:6.2f}x"
                print(f"{model + ' ' + name:16} {rows:5} {us:10.1f} {rates} {compared}", flush=True)


if __name__ == "__main__":
    main()
