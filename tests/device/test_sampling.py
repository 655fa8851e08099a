"""Penalties and the selection of the k largest logits of a row."""

import pytest
import torch

from support import kernel_reference as reference
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, assert_close, randn

ops = Ops("_C")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vocab", [2112, 77])
@pytest.mark.parametrize("same_dtype", [False, True])
def test_repetition_penalties(dtype, vocab, same_dtype):
    logits = randn((3, vocab), dtype, 0, 3.0)
    prompt, output = (randn((3, vocab), torch.float32, seed) > 1 for seed in (1, 2))
    penalties = torch.tensor([1.3, 1.0, 0.7]).to(dtype if same_dtype else torch.float32)
    expected = reference.repetition_penalties(logits, prompt | output, penalties)
    ops.apply_repetition_penalties_(logits, prompt, output, penalties)
    assert_close(logits, expected)


def test_sparse_penalties():
    logits = randn((3, 50), torch.float32, 0, 3.0)
    offsets, ids = torch.tensor([0, 2, 2, 5], dtype=torch.int32), torch.tensor([3, 9, 0, 49, 7], dtype=torch.int32)
    counts = torch.tensor([2, 0, 1, 0, 4], dtype=torch.int32)
    repetition, frequency, presence = torch.tensor([[1.5, 1, 0.5], [0.1, 5, 0.2], [0.4, 5, -0.3]])
    expected = logits.clone()
    for row, first, last in ((0, 0, 2), (2, 2, 5)):
        for token, count in zip(ids[first:last].tolist(), counts[first:last].tolist(), strict=True):
            x = expected[row, token]
            x = x / repetition[row] if x > 0 else x * repetition[row]
            expected[row, token] = x - count * frequency[row] - (presence[row] if count else 0)
    ops.apply_penalties_(logits, offsets, ids, counts, repetition, frequency, presence)
    assert_close(logits, expected)


def chosen(indices):
    return [sorted(i for i in row if i >= 0) for row in indices.tolist()]


def largest(row, k):
    """Indices of the k largest, lower ones first among equals."""
    return sorted(row.sort(descending=True, stable=True).indices[:k].tolist())


@pytest.mark.parametrize("k", [1, 16, 700])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("column_stride", [1, 2])
def test_top_k_prefill(k, ties, column_stride):
    logits = randn((4, 1500 * column_stride), torch.float32, 0)[:, ::column_stride]
    if ties:
        logits = logits.round().expand(4, -1)
    starts, ends = (
        torch.tensor([0, 5, 700, 9], dtype=torch.int32),
        torch.tensor([1500, 1200, 703, 9], dtype=torch.int32),
    )
    out = torch.full((4, k), 12345, dtype=torch.int32)
    ops.top_k_per_row_prefill(logits, starts, ends, out, 4, *logits.stride(), k)
    spans = zip(logits, starts.tolist(), ends.tolist(), strict=True)
    assert chosen(out) == [largest(row[start:end], k) for row, start, end in spans]


@pytest.mark.parametrize("next_n", [1, 2])
def test_top_k_decode(next_n):
    logits, lens = randn((4, 600), torch.float32, 0), torch.tensor([600, 17, 300, 5][: 4 // next_n], dtype=torch.int32)
    out = torch.empty(4, 64, dtype=torch.int32)
    ops.top_k_per_row_decode(logits, next_n, lens, out, 4, 600, 1, 64)
    ends = [int(lens[row // next_n]) - next_n + row % next_n + 1 for row in range(4)]
    assert chosen(out) == [largest(row[:end], 64) for row, end in zip(logits, ends, strict=True)]


def test_signs_and_infinities_order():
    logits = torch.tensor([[-1.0, 0.0, -0.0, 2.0, -torch.inf, torch.inf, -3.0, 1e-40]])
    out = torch.empty(1, 4, dtype=torch.int32)
    ops.top_k_per_row_prefill(*(logits, torch.tensor([0], dtype=torch.int32), torch.tensor([8], dtype=torch.int32)),
                              out, 1, 8, 1, 4)  # fmt: skip
    assert chosen(out) == [[1, 3, 5, 7]]


def test_refusals():
    logits, ends = torch.zeros(2, 8), torch.tensor([8, 8], dtype=torch.int32)
    with pytest.raises(RuntimeError, match=r"logits has shape .* expected at least numRows = 3 rows"):
        ops.top_k_per_row_decode(logits, 1, ends, torch.empty(3, 4, dtype=torch.int32), 3, 8, 1, 4)
    with pytest.raises(RuntimeError, match="indices has 1 rows, expected numRows = 2"):
        ops.top_k_per_row_decode(logits, 1, ends, torch.empty(1, 4, dtype=torch.int32), 2, 8, 1, 4)
