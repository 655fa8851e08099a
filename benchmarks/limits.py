"""What the benchmarks that know the machine's limits have in common: their options and their first line."""

import argparse

import torch

from vllm.kernels import cpu_isa


def limit_parser(description: str, seconds: float) -> argparse.ArgumentParser:
    """Options of a benchmark whose figures are shares of what memory and arithmetic allow."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, help="torch's thread count (default: all cores)")
    parser.add_argument("--seconds", type=float, default=seconds, help="time spent on each figure (%(default)s)")
    parser.add_argument("--memory", type=float, default=35.5, help="GB/s that the machine reads (%(default)s)")
    parser.add_argument("--compute", type=float, default=450.0, help="its GFLOP/s in this dtype (%(default)s)")
    return parser


def prepare(arguments: argparse.Namespace) -> torch.dtype:
    """Sets the thread count, prints what runs, and returns the dtype that was asked for."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"{cpu_isa()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.dtype}")
    return getattr(torch, arguments.dtype)
