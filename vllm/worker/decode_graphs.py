"""Decode steps by few shapes, each captured once and replayed: a GPU then gets a step's kernels in one call."""

from collections.abc import Callable

import torch
from torch import Tensor

from vllm.attention.step_input import StepInput

# Blocks of each sequence that the narrowest captured step has room for.
_NARROWEST = 16


def doublings(first: int, last: int) -> list[int]:
    """first, 2 first, 4 first, ... and `last`, ascending."""
    sizes = []
    while first < last:
        sizes.append(first)
        first *= 2
    return [*sizes, last]


class DecodeGraphs:
    """Captured steps by shape: numbers of sequences and of blocks of each, both in doublings up to their most.

    A shape is captured when it first comes. Captured steps share memory: one's result lasts until the next is run.
    """

    def __init__(self, max_num_seqs: int, max_blocks: int, device: torch.device):
        self._rows, self._widths = doublings(1, max_num_seqs), doublings(_NARROWEST, max_blocks)
        self._capture = _CudaCapture() if device.type == "cuda" else _repeat
        self._captured: dict[tuple[int, int], Callable[[], Tensor]] = {}

    def __len__(self) -> int:
        return len(self._captured)

    def shape_for(self, step: StepInput) -> tuple[int, int] | None:
        """The captured shape that the step is padded to; None where not every sequence decodes one token."""
        rows, width = step.block_table.shape
        if step.num_tokens != rows or step.logits_indices is not None:
            return None
        fitting_rows = next(size for size in self._rows if size >= rows)
        return fitting_rows, next(size for size in self._widths if size >= width)

    def run(self, shape: tuple[int, int], function: Callable[[], Tensor]) -> Tensor:
        """`function`'s result for what the step's tensors hold now; they must be the same tensors for a shape."""
        if shape not in self._captured:
            self._captured[shape] = self._capture(function)
        return self._captured[shape]()


def _repeat(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """On the CPU nothing is captured: the padded step runs as it is."""
    return function


class _CudaCapture:
    """Captures with torch.cuda.graph, all into one pool of memory and on one stream.

    Libraries keep a workspace for each stream. The step that runs before a capture takes that of the stream that is
    captured, once for all shapes; a stream of its own, since torch may give up a workspace with a captured graph.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def __call__(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            function()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            result = function()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay
