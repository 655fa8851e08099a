"""A step's tensors against a plain recomputation, over sequences that come, grow and go."""

import random

import torch

from vllm import SamplingParams
from vllm.messages import EngineRequest
from vllm.scheduler.output import ScheduledStep
from vllm.scheduler.request import Request
from vllm.worker.input_batch import InputBatch

BLOCK = 4


def grow(request, num_tokens, free_blocks):
    while len(request.blocks.block_ids) * BLOCK < num_tokens:
        request.blocks.block_ids.append(free_blocks.pop())


def check(made, requests, counts):
    tokens, positions, slots, starts = [], [], [], [0]
    for request, count in zip(requests, counts, strict=True):
        span = range(request.num_computed_tokens, request.num_computed_tokens + count)
        tokens += [request.token_ids[i] for i in span]
        positions += span
        slots += [request.blocks.block_ids[i // BLOCK] * BLOCK + i % BLOCK for i in span]
        starts.append(starts[-1] + count)
    assert made.token_ids.tolist() == tokens
    assert made.positions.tolist() == positions
    assert made.slot_mapping.tolist() == slots
    assert made.query_start_loc.tolist() == starts
    lengths = [r.num_computed_tokens + c for r, c in zip(requests, counts, strict=True)]
    assert made.seq_lens.tolist() == lengths
    assert made.query_start_loc.dtype == made.seq_lens.dtype == made.block_table.dtype == torch.int32
    for row, request, length in zip(made.block_table.tolist(), requests, lengths, strict=True):
        used = -(-length // BLOCK)
        assert row[:used] == request.blocks.block_ids[:used]


def test_arbitrary_steps():
    generator = random.Random(0)
    batch = InputBatch(max_num_seqs=6, max_num_tokens=64, max_model_len=64, block_size=BLOCK)
    free_blocks = list(range(500))
    generator.shuffle(free_blocks)
    running: list[Request] = []
    released: list[str] = []
    for number in range(300):
        for request in [r for r in running if generator.random() < 0.1 or r.num_tokens >= 60]:
            running.remove(request)
            released.append(request.request_id)
            free_blocks += request.blocks.block_ids
        while len(running) < 6 and generator.random() < 0.4:
            prompt = [generator.randrange(100) for _ in range(generator.randrange(1, 20))]
            engine_request = EngineRequest(f"{number}.{len(running)}", prompt, SamplingParams(), [], 0.0)
            running.append(Request(engine_request, 0, 64))
        if not running:
            continue
        decode = generator.random() < 0.5
        requests = [r for r in running if not decode or r.num_tokens - r.num_computed_tokens == 1] or running[:1]
        counts = [generator.randrange(1, min(r.num_tokens - r.num_computed_tokens, 9) + 1) for r in requests]
        for request, count in zip(requests, counts, strict=True):
            grow(request, request.num_computed_tokens + count, free_blocks)
        batch.release(released)
        released = []
        check(batch.build(ScheduledStep(requests, counts), None), requests, counts)
        for request, count in zip(requests, counts, strict=True):
            request.num_computed_tokens += count
            if request.num_computed_tokens == request.num_tokens:
                request.token_ids.append(generator.randrange(100))


def test_wanted_rows():
    batch = InputBatch(2, 16, 32, BLOCK)
    request = Request(EngineRequest("a", [5, 6, 7], SamplingParams(), [], 0.0), 0, 32)
    request.blocks.block_ids = [3]
    step = ScheduledStep([request], [3])
    made = batch.build(step, [2])
    hidden = torch.arange(6.0).reshape(3, 2)
    assert made.wanted(hidden).tolist() == [[4.0, 5.0]]
    assert batch.build(step, None).wanted(hidden) is hidden
