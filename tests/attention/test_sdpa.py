"""TORCH_SDPA attends as the definition says, whatever is batched with what."""

import pytest
import torch

from support.attention_case import AttentionCase
from support.kernel_inputs import assert_close
from vllm.attention import sdpa
from vllm.attention.step_input import StepInput

# (length, query tokens) of each sequence.
STEPS = {
    "decode": ((33, 1), (1, 1), (70, 1), (16, 1)),
    "prefill": ((40, 40), (1, 1), (17, 17)),
    "chunks": ((60, 20), (40, 39), (90, 2)),
    "mixed": ((25, 1), (64, 30), (1, 1), (7, 7), (80, 1)),
}


def step_of(case: AttentionCase) -> StepInput:
    none = torch.empty(0)
    counts = [count for _, count in case.sequences]
    starts = [length - count for length, count in case.sequences]
    tokens = torch.zeros(sum(counts), dtype=torch.int64)
    return StepInput(tokens, none, none, case.query_start_loc, case.seq_lens, case.block_table, None, counts, starts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [0, 12])
@pytest.mark.parametrize("heads", [(4, 2), (3, 3), (6, 1)], ids=str)
@pytest.mark.parametrize("sequences", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "in parts"])
def test_against_the_definition(sequences, heads, window, dtype, in_parts, monkeypatch):
    if in_parts:
        monkeypatch.setattr(sdpa, "_GATHERED_BYTES", 1)
        monkeypatch.setattr(sdpa, "_MASKED_PAIRS", 300)
    num_heads, kv_heads = heads
    case = AttentionCase(sequences, dtype, num_heads, kv_heads, head_size=32, sliding_window=window)
    # What no sequence wrote is finite in the engine: the cache begins as zeros.
    keys, values = (cache.contiguous().nan_to_num() for cache in (case.key_cache, case.value_cache))
    out, step = torch.full((*case.query.shape,), 7.0).to(dtype), step_of(case)
    for _ in range(2):  # the second layer finds the first one's plan
        sdpa.attend(out, case.query, keys, values, step, case.scale, window)
        assert_close(out, case.expected()[0], terms=4.0)
