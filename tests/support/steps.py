"""Steps of sequences that an attention backend attends in."""

import torch

from support.attention_case import AttentionCase
from vllm.attention.step_input import StepInput

# (length, query tokens) of each sequence.
STEPS = {
    "decode": ((33, 1), (1, 1), (70, 1), (16, 1)),
    "prefill": ((40, 40), (1, 1), (17, 17)),
    "chunks": ((60, 20), (40, 39), (90, 2)),
    "mixed": ((25, 1), (64, 30), (1, 1), (7, 7), (80, 1)),
}


def step_of(case: AttentionCase) -> StepInput:
    """What an attention backend reads of the case's step."""
    none = torch.empty(0)
    counts = [count for _, count in case.sequences]
    starts = [length - count for length, count in case.sequences]
    tokens = torch.zeros(sum(counts), dtype=torch.int64)
    return StepInput(tokens, none, none, case.query_start_loc, case.seq_lens, case.block_table, None, counts, starts)
