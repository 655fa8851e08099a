"""Where small weights lie once they are loaded."""

from itertools import pairwise

import torch

from vllm.huge_pages import HugePages


def test_small_tensors_lie_side_by_side():
    memory = HugePages()
    tensors = [torch.arange(n, dtype=torch.int32).reshape(-1, 5) for n in (5, 500_000, 20, 900_000, 5)]
    placed = [memory.place(tensor) for tensor in tensors]
    for tensor, copy in zip(tensors, placed, strict=True):
        assert torch.equal(tensor, copy) and copy.is_contiguous()
        assert copy.data_ptr() % 64 == 0
    assert placed[0].data_ptr() % (2 << 20) == 0
    spans = sorted((copy.data_ptr(), copy.data_ptr() + copy.nbytes) for copy in placed)
    assert all(0 <= begin - end < 64 for (_, end), (begin, _) in pairwise(spans))


def test_a_full_chunk_is_followed_by_another():
    memory = HugePages()
    tensors = [torch.full((3 << 18,), fill, dtype=torch.float32) for fill in range(25)]  # 3 MiB each
    placed = [memory.place(tensor) for tensor in tensors]
    assert len({copy.untyped_storage().data_ptr() for copy in placed}) == 3
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(tensors, placed, strict=True))


def test_what_gains_nothing_stays():
    memory = HugePages()
    for tensor in (torch.zeros(4 << 20, dtype=torch.uint8), torch.zeros(0), torch.zeros(8, device="meta")):
        assert memory.place(tensor) is tensor
