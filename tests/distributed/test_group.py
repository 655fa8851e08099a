"""Ranks that find each other, and that do not."""

import threading
import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from vllm.distributed import group
from vllm.distributed.group import PeerLostError, ProcessGroup


def test_a_rank_that_never_comes_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(group, "_CONNECT_TIMEOUT", timedelta(seconds=1))
    with pytest.raises(PeerLostError, match=r"^[^\n]+$"):
        ProcessGroup(dist.HashStore(), 0, 2)


def test_exchanges_may_take_longer_than_connecting(monkeypatch):
    monkeypatch.setattr(group, "_CONNECT_TIMEOUT", timedelta(seconds=1))
    store, sums = dist.HashStore(), {}

    def rank(number: int) -> None:
        ranks = ProcessGroup(store, number, 2)
        if number == 1:
            time.sleep(2)  # as with weights on a slow disk
        sums[number] = torch.full((3,), number + 1.0)
        ranks.all_reduce(sums[number])

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(sums[number], torch.full((3,), 3.0)) for number in range(2))
