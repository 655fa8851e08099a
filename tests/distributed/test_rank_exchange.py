"""Sums and gathers through memory that ranks share: threads with the same memory, and processes that end."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from vllm.distributed import shared_memory
from vllm.distributed.shared_memory import SharedMemory
from vllm.kernels.rank_exchange import gather_on_first_rank, sum_over_ranks
from vllm.kernels.recording import record

SLOT = 256  # bytes
SIZES = (0, 1, 7, 64, 127, 128, 129, 1000, 70000)


def memory(ranks: int) -> Tensor:
    """What begins with a cache line, as mapped files do."""
    size = ranks * (64 + 2 * SLOT)
    buffer = torch.zeros(size + 64, dtype=torch.uint8)
    return buffer[-buffer.data_ptr() % 64 :][:size]


def as_ranks(ranks: int, do: Callable[[int], object]) -> list:
    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(do, range(ranks)))


def inputs(ranks: int, size: int, dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(size, generator=torch.Generator().manual_seed(rank)).to(dtype) for rank in range(ranks)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_sums(ranks, dtype):
    shared, given = memory(ranks), {size: inputs(ranks, size, dtype) for size in SIZES}

    def add(rank: int) -> list[Tensor]:
        """All sizes one after another, through the same slots."""
        own = [given[size][rank].clone() for size in SIZES]
        for x in own:
            sum_over_ranks(x, shared, rank, ranks, -1)
        return own

    for summed in as_ranks(ranks, add):
        for size, x in zip(SIZES, summed, strict=True):
            expected = given[size][0].float().clone()
            for other in given[size][1:]:
                expected += other.float()
            assert torch.equal(x, expected.to(dtype))


@pytest.mark.parametrize("ranks", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gathers_between_sums(ranks, dtype):
    shared, given = memory(ranks), {size: inputs(ranks, size, dtype) for size in SIZES}

    def gather(rank: int) -> list[Tensor]:
        received = []
        for size in SIZES:
            received.append(torch.empty(ranks if rank == 0 else 0, size, dtype=dtype))
            gather_on_first_rank(received[-1], given[size][rank], shared, rank, ranks, -1)
            sum_over_ranks(torch.ones(5), shared, rank, ranks, -1)
        return received

    first, *others = as_ranks(ranks, gather)
    assert all(torch.equal(got, torch.stack(given[size])) for size, got in zip(SIZES, first, strict=True))
    assert all(len(got) == 0 for received in others for got in received)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3), memory(2), 2, 2, -1), "memory is of rank 2 of 2, expected one of them"),
        ((torch.ones(3), memory(2)[8:], 0, 2, -1), "memory that begins with a cache line"),
        ((torch.ones(3), memory(1)[:128], 0, 1, -1), "memory has 128 bytes, expected at least 192"),
        ((torch.ones(3, 2).t(), memory(2), 0, 2, -1), "x .* contiguous"),
        ((torch.ones(3, dtype=torch.int32), memory(2), 0, 2, -1), "x is int32, expected float32"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        sum_over_ranks(*arguments)
    x, _, rank, ranks, _ = arguments
    with pytest.raises(RuntimeError, match=message):
        gather_on_first_rank(x.new_empty(ranks if rank == 0 else 0, *x.shape), *arguments)


def test_a_result_of_another_size():
    with pytest.raises(RuntimeError, match="result has 5 elements, expected 6"):
        gather_on_first_rank(torch.empty(5), torch.ones(3), memory(2), 0, 2, -1)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_replayed_sums(ranks):
    """What the memory holds when a sum is replayed is what is added."""
    shared = memory(ranks)

    def add(rank: int) -> list[Tensor]:
        x, found = torch.full((300,), 1.0 + rank), []
        recording = record(lambda: sum_over_ranks(x, shared, rank, ranks, -1))
        for factor in (1, 10, 100):
            found.append(x.clone())
            x.fill_(factor * (1.0 + rank))
            recording.replay()
        return [*found, x]

    total = ranks * (ranks + 1) / 2
    for found in as_ranks(ranks, add):
        assert [x.unique().tolist() for x in found] == [[total], [total], [total * 10], [total * 100]]


needs_files = pytest.mark.skipif(shared_memory.create(1) is None, reason="this system has no files without names")
OTHER_RANK = """
import sys, torch
from vllm.distributed.shared_memory import SharedMemory
ranks = SharedMemory(int(sys.argv[1]), 1, 2)
x = torch.full((3,), 2.0)
ranks.all_reduce(x)
assert x.tolist() == [3.0] * 3
ranks.gather(torch.full((400000,), 2.0))  # more than a slot holds
print("added", flush=True)
sys.stdin.read()
"""


@needs_files
def test_processes_and_one_that_ends():
    descriptor = shared_memory.create(2)
    ours = SharedMemory(descriptor, 0, 2)
    command = [sys.executable, "-c", OTHER_RANK, str(descriptor)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, pass_fds=[descriptor], text=True, **pipes) as other:
        x = torch.ones(3)
        sum_over_ranks(x, ours._memory, 0, 2, -1)  # -1: it has not locked its byte yet
        assert x.tolist() == [3.0] * 3
        received = ours.gather(torch.full((400000,), 1.0))
        assert [(part == value).all() for part, value in zip(received, (1.0, 2.0), strict=True)] == [True, True]
        assert other.stdout.readline() == "added\n"
        other.kill()  # and it is not waited for: the process is there, as one that has ended
        with pytest.raises(RuntimeError, match="rank 1 has ended"):
            ours.all_reduce(x)
