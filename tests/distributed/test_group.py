"""Ranks that find each other, and that do not."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from vllm.distributed import group
from vllm.distributed.group import PeerLostError, ProcessGroup
from vllm.exceptions import VLLMValidationError


def test_a_rank_that_never_comes_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(group, "_CONNECT_TIMEOUT", timedelta(seconds=1))
    with pytest.raises(PeerLostError, match=r"^[^\n]+$"):
        ProcessGroup(dist.HashStore(), 0, 2)


def as_two_ranks(do: Callable[[ProcessGroup], object], device_type: str = "cpu") -> list[object]:
    """What each of them gets."""
    store = dist.HashStore()
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda number: do(ProcessGroup(store, number, 2, device_type)), range(2)))


def test_exchanges_may_take_longer_than_connecting(monkeypatch):
    monkeypatch.setattr(group, "_CONNECT_TIMEOUT", timedelta(seconds=1))

    def add_late(ranks: ProcessGroup) -> Tensor:
        if ranks.rank == 1:
            time.sleep(2)  # as with weights on a slow disk
        x = torch.full((3,), ranks.rank + 1.0)
        ranks.all_reduce(x)
        return x

    assert all(torch.equal(x, torch.full((3,), 3.0)) for x in as_two_ranks(add_late))


def test_tensors_of_devices_go_by_nccl_and_numbers_by_gloo(monkeypatch):
    calls = []

    class Nccl:
        """gloo in its place: this torch may have none."""

        def __init__(self, store: dist.Store, rank: int, size: int):
            self._gloo = group._gloo(dist.PrefixStore("second", store), rank, size)

        def __getattr__(self, name: str) -> object:
            calls.append(name)
            return getattr(self._gloo, name)

    def exchange(ranks: ProcessGroup) -> tuple[int, list[float], list[float]]:
        x = torch.full((2,), ranks.rank + 1.0)
        gathered = torch.cat([x[:0], *ranks.gather(x)])
        ranks.all_reduce(x)
        return ranks.smallest(7 - ranks.rank), gathered.tolist(), x.tolist()

    monkeypatch.setattr(group, "_nccl", Nccl)
    first, second = as_two_ranks(exchange, "cuda")
    assert first == (6, [1.0, 1.0, 2.0, 2.0], [3.0, 3.0])
    assert second == (6, [], [3.0, 3.0])
    assert sorted(calls) == ["allreduce", "allreduce", "gather", "gather"]


@pytest.mark.skipif(dist.is_nccl_available(), reason="this torch has NCCL")
def test_a_torch_without_nccl_is_named():
    group.require_backends("cpu")
    with pytest.raises(VLLMValidationError, match=r"a torch that has gloo and NCCL; .* built without NCCL: give 1"):
        group.require_backends("cuda")
