"""What the benchmarks that know the machine's limits have in common: their options and their first line."""

import argparse

import torch

from vllm.kernels import cpu_isa
from vllm.profiling.limits import measure_limits


def limit_parser(description: str, seconds: float) -> argparse.ArgumentParser:
    """Options of a benchmark whose figures are shares of what memory and arithmetic allow."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, help="torch's thread count (default: all cores)")
    parser.add_argument("--seconds", type=float, default=seconds, help="time spent on each figure (%(default)s)")
    parser.add_argument("--memory", type=float, help="GB/s that the machine reads (default: measured now)")
    parser.add_argument("--compute", type=float, help="its GFLOP/s in this dtype (default: measured now)")
    return parser


def prepare(arguments: argparse.Namespace) -> torch.dtype:
    """Sets the thread count and the limits, prints what runs, and returns the dtype that was asked for."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"{cpu_isa()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.dtype}")
    dtype = getattr(torch, arguments.dtype)
    if arguments.memory is None or arguments.compute is None:
        limits = measure_limits(dtype)
        arguments.memory = arguments.memory or limits.bytes_per_second / 1e9
        arguments.compute = arguments.compute or limits.flops_per_second / 1e9
    print(f"limits: memory {arguments.memory:.1f} GB/s, arithmetic {arguments.compute:.0f} GFLOP/s")
    return dtype
