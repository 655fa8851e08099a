#!/usr/bin/env python3
"""Time packed linear layers of two models beside torch, and as a share of what memory and arithmetic allow.

    python benchmarks/linear.py [--model 135m|0.5b] [--rows 1 16 900] [--weights plain int8 int4 w8a8]
                                [--memory GB/s] [--compute GFLOP/s] [--int8-compute GOP/s]

Weights are read in turn from copies that exceed the caches together, as the layers of a model do. The limit is the
larger of the times that moving the bytes and doing the arithmetic need; --memory and the like describe the machine.
Torch runs in floating point beside quantised weights, too: int8 and int4 are what --quantization makes of a model, w8a8
has one scale for each row of the weight and of the input.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from kernels import seconds_per_call
from limits import limit_parser, prepare

from vllm.kernels import linear
from vllm.kernels.quantized_linear import pack_quantized_weight
from vllm.quantization.at_load import Int4, Int8

MODELS = {
    "135m": {"qkv": (960, 576), "o": (576, 576), "gate_up": (3072, 576), "down": (576, 1536), "head": (49152, 576)},
    "0.5b": {"qkv": (1152, 896), "o": (896, 896), "gate_up": (9728, 896), "down": (896, 4864), "head": (151936, 896)},
}
KINDS = ("plain", "int8", "int4", "w8a8")
CACHE_BYTES = 80 << 20
HEAD_ROWS = 64  # the output head sees only the rows that are sampled


def pack(weight: torch.Tensor, kind: str, fused: bool) -> torch.Tensor:
    if kind == "plain":
        return linear.pack_gate_up_weight(weight) if fused else linear.pack_linear_weight(weight)
    quantized = (Int4 if kind == "int4" else Int8)({}).quantized(weight)
    if kind == "w8a8":
        quantized.group_size = -1
    return quantized.packed(pack_quantized_weight, weight.device, fused)


def layer(n: int, k: int, fused: bool, dtype: torch.dtype, kind: str) -> tuple[list, Callable, Callable]:
    """Packed copies of a layer, and for an input what runs all of them, here and in torch."""
    count = max(1, CACHE_BYTES // (n * k * (1 if kind != "plain" else dtype.itemsize)))
    weights = [torch.randn(n, k, dtype=dtype) for _ in range(count)]
    first = pack(weights[0], kind, fused)
    packed = [first, *(first.clone() for _ in range(count - 1))]

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

    return packed, ours, in_torch


def measure(model: str, name: str, kind: str, dtype: torch.dtype, arguments: argparse.Namespace) -> None:
    n, k = MODELS[model][name]
    packed, ours, in_torch = layer(n, k, name == "gate_up", dtype, kind)
    compute = arguments.compute if kind == "plain" else arguments.int8_compute
    for rows in arguments.rows:
        if name == "head" and rows > HEAD_ROWS:
            continue
        x = torch.randn(rows, k, dtype=dtype)
        us, torch_us = (seconds_per_call(f(x), arguments.seconds) / len(packed) * 1e6 for f in (ours, in_torch))
        gigabytes = packed[0].nbytes * 1e-9 + rows * (n + k) * dtype.itemsize * 1e-9
        gigaflops = 2e-9 * rows * n * k
        limit = max(gigabytes / arguments.memory, gigaflops / compute) * 1e6
        rates = f"{gigabytes / us * 1e6:6.1f} {gigaflops / us * 1e6:8.1f} {limit / us:6.0%}"
        compared = f"{torch_us:10.1f} {torch_us / us:6.2f}x"
        print(f"{model + ' ' + name:16} {kind:>7} {rows:5} {us:10.1f} {rates} {compared}", flush=True)


def main() -> None:
    parser = limit_parser(__doc__, seconds=0.3)
    parser.add_argument("--model", choices=MODELS, help="default: both")
    parser.add_argument("--layer", help="only layers whose name contains this")
    parser.add_argument("--weights", choices=KINDS, nargs="+", default=["plain"], help="%(default)s: in --dtype")
    parser.add_argument("--int8-compute", type=float, default=920.0, help="its GOP/s of 8-bit products (%(default)s)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16, 64, 256, 900])
    arguments = parser.parse_args()
    dtype = prepare(arguments)
    rates = f"{'GB/s':>6} {'Gop/s':>8} {'limit':>6}"
    print(f"{'layer':16} {'weights':>7} {'rows':>5} {'us':>10} {rates} {'torch us':>10} {'faster':>7}")
    for model in [arguments.model] if arguments.model else MODELS:
        for name in MODELS[model]:
            if not arguments.layer or arguments.layer in name:
                for kind in arguments.weights:
                    measure(model, name, kind, dtype, arguments)


if __name__ == "__main__":
    main()
