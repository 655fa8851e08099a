"""What this machine's memory and arithmetic allow, measured in a second or two."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vllm.kernels.linear import linear_packed, pack_linear_weight
from vllm.kernels.quantized_linear import pack_quantized_weight, quantize_weight
from vllm.quantization.base import MAX_INPUT_GROUP

_READ_BYTES = 256 * 2**20  # more than the caches of most CPUs hold
_ROWS, _WIDTH = 512, 1024  # a product whose operands stay in the second-level cache
_SECONDS = 0.25  # on each figure


@dataclass(frozen=True)
class Limits:
    """The best of many short tries, with torch's number of threads.

    `bytes_per_second` is read from memory. `flops_per_second` is reached in the model's dtype, `int8_per_second` by
    products of 8-bit integers (a multiplication and an addition count as two); 0 where it was not measured.
    """

    bytes_per_second: float
    flops_per_second: float
    int8_per_second: float = 0.0


def measure_limits(dtype: torch.dtype, int8: bool = False) -> Limits:
    """Takes 256 MiB and about a second; `int8`: the limit for quantised weights too."""
    return Limits(_read_speed(), _product_speed(dtype), _int8_product_speed() if int8 else 0.0)


def _best(functions: list[Callable[[], object]]) -> float:
    """Seconds of the fastest call."""
    best = float("inf")
    for function in functions:
        function()
        end = time.perf_counter() + _SECONDS
        while (started := time.perf_counter()) < end:
            function()
            best = min(best, time.perf_counter() - started)
    return best


def _read_speed() -> float:
    memory = torch.ones(_READ_BYTES // 4)
    return memory.nbytes / _best([memory.sum])


def _product_speed(dtype: torch.dtype) -> float:
    """The faster of torch's product and this package's."""
    x, weight = torch.randn(_ROWS, _WIDTH).to(dtype), torch.randn(_WIDTH, _WIDTH).to(dtype)
    packed, out = pack_linear_weight(weight), torch.empty(_ROWS, _WIDTH, dtype=dtype)
    return _operations() / _best([lambda: x @ weight.t(), lambda: linear_packed(out, x, packed)])


def _int8_product_speed() -> float:
    x, weight = (torch.randint(-127, 128, (rows, _WIDTH), dtype=torch.int8) for rows in (_ROWS, _WIDTH))
    source = torch.randn(_WIDTH, _WIDTH)
    packed = pack_quantized_weight(*quantize_weight(source, 8), bits=8, group_size=MAX_INPUT_GROUP)
    rows, out = torch.randn(_ROWS, _WIDTH), torch.empty(_ROWS, _WIDTH)
    return _operations() / _best([lambda: torch._int_mm(x, weight), lambda: linear_packed(out, rows, packed)])


def _operations() -> int:
    return 2 * _ROWS * _WIDTH * _WIDTH
