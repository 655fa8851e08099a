"""Sums over ranks: each rank a process, as on a machine with several GPUs, that maps the same memory as the others."""

import mmap
import struct
from collections.abc import Callable

import pytest
import torch

from support import device_emulator
from support.device_ops import Ops, needs_emulator
from support.forked import fork, wait_for
from support.kernel_inputs import DTYPES, randn
from vllm import _custom_ops as ops
from vllm.kernels import custom_all_reduce

SCRATCH = 1 << 20  # bytes of a rank's part behind its flags


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    needs_emulator()
    monkeypatch.setattr(custom_all_reduce, "_ops", lambda: Ops("_C_custom_ar"))


class Ranks:
    """What each rank shares with the others, at the same addresses in all processes."""

    def __init__(self, count: int, elements: int, dtype: torch.dtype) -> None:
        self.count = count
        signal_bytes = ops.meta_size() + SCRATCH
        self._signals = [self._memory(signal_bytes, torch.uint8) for _ in range(count)]
        self.inputs, self.buffers, self.outputs = (
            [self._memory(elements, dtype) for _ in range(count)] for _ in range(3)
        )

    @staticmethod
    def _memory(elements: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.frombuffer(mmap.mmap(-1, elements * dtype.itemsize), dtype=dtype)

    def join(self, rank: int, slots: int = 4, fully_connected: bool = True) -> int:
        """This rank's handle of the group."""
        addresses = [tensor.data_ptr() for tensor in self._signals]
        return ops.init_custom_ar(addresses, torch.zeros(64 * slots, dtype=torch.uint8), rank, fully_connected)

    def run(self, body: Callable[[int], None]) -> None:
        """`body(rank)` in a process for each rank; fails where one does, or waits for ever."""
        wait_for(*[fork(body, rank) for rank in range(self.count)])


def addresses(tensors: list[torch.Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def expected_sum(inputs: list[torch.Tensor]) -> torch.Tensor:
    """In f32, in the order of the ranks, rounded once."""
    total = inputs[0].float()
    for each in inputs[1:]:
        total = total + each.float()
    return total.to(inputs[0].dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("count", "size", "fully_connected"),
    [(2, 16, True), (2, 600_000, True), (4, 1040, True), (4, 1 << 19, True), (4, 1 << 19, False), (8, 270_032, True)],
)
def test_every_rank_gets_the_same_sum(dtype, count, size, fully_connected):
    """Of buffers of `size` bytes, round after round, directly and through a registered buffer."""
    elements = size // dtype.itemsize
    ranks = Ranks(count, elements, dtype)
    rounds = [[randn((elements,), dtype, 100 * turn + rank) for rank in range(count)] for turn in range(3)]
    sums = [expected_sum(inputs) for inputs in rounds]

    def body(rank):
        group = ranks.join(rank, fully_connected=fully_connected)
        ops.register_buffer(group, addresses(ranks.inputs))
        ops.register_buffer(group, addresses(ranks.buffers))
        for turn, inputs in enumerate(rounds):
            out = ranks.outputs[rank]
            if turn == 1:
                ops.all_reduce(group, inputs[rank], out, ranks.buffers[rank].data_ptr(), size)
            else:
                ranks.inputs[rank].copy_(inputs[rank])
                ops.all_reduce(group, ranks.inputs[rank], out, 0, 0)
            assert torch.equal(out, sums[turn]), (rank, turn)
        ops.dispose(group)

    ranks.run(body)


def meta(tensor: torch.Tensor) -> tuple[list[int], list[int]]:
    """What get_graph_buffer_ipc_meta gives of one buffer, which the emulator shares by its address."""
    return [*struct.pack("q56x", tensor.data_ptr())], [0]


def test_captured_sums_at_an_address_that_an_earlier_graph_has_met():
    """As of memory that was freed and allocated again, on other ranks elsewhere."""
    ranks = Ranks(2, 64, torch.float32)

    def body(rank):
        group = ranks.join(rank)
        for met in (ranks.inputs, [ranks.inputs[0], ranks.buffers[1]], ranks.inputs):
            with device_emulator.capture() as replay:
                ops.all_reduce(group, met[rank], ranks.outputs[rank], 0, 0)
            assert ops.get_graph_buffer_ipc_meta(group) == meta(met[rank])
            ops.register_graph_buffers(group, *zip(*map(meta, met), strict=True))
            for seed in (0, 2):
                inputs = [randn((64,), torch.float32, seed + r) for r in range(2)]
                met[rank].copy_(inputs[rank])
                replay()
                assert torch.equal(ranks.outputs[rank], expected_sum(inputs))
        with pytest.raises(RuntimeError, match="is no registered buffer"):
            ops.all_reduce(group, ranks.inputs[rank], ranks.outputs[rank], 0, 0)
        ops.dispose(group)

    ranks.run(body)


@pytest.fixture
def pair():
    """Two ranks, of which this process is the first."""
    return Ranks(2, 64, torch.float32)


def test_wrong_groups_are_refused(pair):
    data = torch.zeros(64, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="there are 3 ranks, expected 2, 4, 6 or 8"):
        ops.init_custom_ar([1, 2, 3], data, 0, True)
    with pytest.raises(RuntimeError, match="rank is 2, expected 0 to 1"):
        ops.init_custom_ar([1, 2], data, 2, True)
    with pytest.raises(RuntimeError, match="fa is -3, which init_custom_ar did not return"):
        ops.dispose(-3)
    group = pair.join(0, slots=1)
    with pytest.raises(RuntimeError, match="ipc_tensors has 1 entries, expected one a rank, 2"):
        ops.register_buffer(group, [1])
    ops.register_buffer(group, addresses(pair.inputs))
    with pytest.raises(RuntimeError, match="rank_data has room for 1 buffers, all of them taken"):
        ops.register_buffer(group, addresses(pair.buffers))
    ops.dispose(group)
    with pytest.raises(RuntimeError, match="or dispose has ended"):
        ops.dispose(group)


def test_wrong_buffers_are_refused(pair):
    group, x = pair.join(0), torch.zeros(64)
    with pytest.raises(RuntimeError, match="is no registered buffer; register it, or pass one as reg_buffer"):
        ops.all_reduce(group, x, torch.empty(64), 0, 0)
    with pytest.raises(RuntimeError, match="has 256 bytes, expected at most the buffer's 128"):
        ops.all_reduce(group, x, torch.empty(64), pair.buffers[0].data_ptr(), 128)
    with pytest.raises(RuntimeError, match="has 4 bytes, expected a multiple of 16"):
        ops.all_reduce(group, x[:1], torch.empty(1), 0, 0)
    with pytest.raises(RuntimeError, match="does not start at a multiple of 16 bytes; copy it"):
        ops.all_reduce(group, torch.zeros(68)[1:65], torch.empty(64), 0, 0)
    with pytest.raises(RuntimeError, match="has 32 elements, expected inp's 64"):
        ops.all_reduce(group, x, torch.empty(32), 0, 0)
    assert ops.get_graph_buffer_ipc_meta(group) == ([], [])
    with pytest.raises(RuntimeError, match="rank 1 gave 1 buffers, expected the 0 that this rank has captured"):
        ops.register_graph_buffers(group, [[], [0] * 64], [[], [0]])
    ops.dispose(group)
