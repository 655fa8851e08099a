"""Requests that wait, first come first served or by priority."""

import heapq
from collections.abc import Iterator

from vllm.config import SchedulingPolicy
from vllm.scheduler.request import Request


class RequestQueue:
    """A heap. A preempted request comes back to the place that its arrival gives it, so that none starves."""

    def __init__(self, policy: SchedulingPolicy):
        self._by_priority = policy == "priority"
        self._heap: list[tuple[tuple[float, ...], Request]] = []

    def key(self, request: Request) -> tuple[float, ...]:
        """Smaller runs earlier. `order` is unique, so requests are never compared themselves."""
        if self._by_priority:
            return (request.priority, request.arrival_time, request.order)
        return (request.order,)

    def push(self, request: Request) -> None:
        heapq.heappush(self._heap, (self.key(request), request))

    def peek(self) -> Request:
        return self._heap[0][1]

    def pop(self) -> Request:
        return heapq.heappop(self._heap)[1]

    def remove(self, request: Request) -> None:
        self._heap = [entry for entry in self._heap if entry[1] is not request]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Request]:
        return (request for _, request in self._heap)
