"""A recording repeats kernel calls on what their memory holds now; what cannot be repeated is not recorded."""

import pytest
import torch

from support.models import save_model
from vllm import LLM, SamplingParams
from vllm.kernels.attention import packed_pair, paged_attention_varlen
from vllm.kernels.linear import linear_packed, pack_linear_weight
from vllm.kernels.norm import fused_add_rms_norm
from vllm.kernels.recording import record
from vllm.kernels.sampling import sample_tokens
from vllm.layers.replay import Replay


def test_replay_reads_memory_anew():
    weight = pack_linear_weight(torch.randn(48, 32))
    scale, x, residual, out = torch.rand(32), torch.randn(3, 32), torch.randn(3, 32), torch.empty(3, 48)

    def calls():
        fused_add_rms_norm(x, residual, scale, 1e-6)
        linear_packed(out, x, weight)

    recording = record(calls)
    new_x, new_residual = torch.randn(3, 32), torch.randn(3, 32)
    x.copy_(new_x), residual.copy_(new_residual)
    calls()
    expected = x.clone(), residual.clone(), out.clone()
    x.copy_(new_x), residual.copy_(new_residual), out.zero_()
    recording.replay()
    assert all(torch.equal(a, b) for a, b in zip((x, residual, out), expected, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_stay_together_over_many_kernels(threads):
    """Kernels that divide their work, that wait for each other within one, and that one thread does alone, in turn."""
    wide, narrow = pack_linear_weight(torch.randn(512, 320)), pack_linear_weight(torch.randn(320, 512))
    scale, residual = torch.rand(320), torch.zeros(90, 320)
    x, between = torch.randn(90, 320) / 8, torch.empty(90, 512)

    def calls():
        for rows in (90, 1, 40) * 20:
            linear_packed(between[:rows], x[:rows], wide)
            linear_packed(x[:rows], between[:rows], narrow)
            fused_add_rms_norm(x[:rows], residual[:rows], scale, 1e-6)

    before, start = torch.get_num_threads(), x.clone()
    try:
        torch.set_num_threads(threads)
        recording = record(calls)
        expected = x.clone(), residual.clone()
        for _ in range(5):
            x.copy_(start), residual.zero_()
            recording.replay()
            assert torch.equal(x, expected[0]) and torch.equal(residual, expected[1])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("length,window", [(70, 0), (300, 48), (700, 0)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_layers_that_fetch_what_attention_reads(dtype, length, window):
    """Linear layers of many rows between attention, whose caches are larger than what is fetched in the last case."""
    rows, heads, size, block = 40, 2, 64, 16
    width, blocks, pair = heads * size, -(-length // block), packed_pair(dtype)
    weights = [pack_linear_weight(torch.randn(width, width).to(dtype) / 12) for _ in range(2)]
    x, between, attended = (torch.randn(rows, width).to(dtype) for _ in range(3))
    count = rows * blocks
    caches = [
        (
            torch.randn(count, heads, size // pair, block, pair).to(dtype),
            torch.randn(count, heads, block // pair, size, pair).to(dtype),
        )
        for _ in range(2)
    ]
    table = torch.randperm(count, dtype=torch.int32).view(rows, blocks)
    starts, lens = torch.arange(rows + 1, dtype=torch.int32), torch.full((rows,), length, dtype=torch.int32)

    def calls():
        for weight, (keys, values) in zip(weights, caches, strict=True):
            linear_packed(between, x, weight)
            query, out = (t.view(rows, heads, size) for t in (between, attended))
            paged_attention_varlen(out, query, keys, values, starts, lens, table, 0.125, sliding_window=window)
            linear_packed(x, attended, weight)

    recording, start = record(calls), torch.randn(rows, width).to(dtype)
    lens.sub_(torch.arange(rows, dtype=torch.int32))  # the recording has addresses, not lengths
    x.copy_(start)
    calls()
    expected = x.clone()
    x.copy_(start)
    recording.replay()
    assert torch.equal(x, expected)


@pytest.mark.parametrize("last", [True, False])
def test_op_that_records_nothing(last):
    logits, zeros, top_k = torch.randn(2, 9), torch.zeros(2), torch.zeros(2, dtype=torch.int32)
    x = torch.randn(2, 8)

    def calls():
        sample_tokens(logits, zeros, top_k, zeros, zeros, zeros)
        if not last:
            fused_add_rms_norm(x, x.clone(), torch.ones(8), 1e-6)

    assert record(calls) is None


def test_dropped_recording():
    with pytest.raises(RuntimeError, match="there is no recording 0, expected a handle"):
        torch.ops._C.replay.default(0)
    with pytest.raises(RuntimeError, match="nothing is being recorded"):
        torch.ops._C.end_recording.default()


def test_failing_function_leaves_nothing_open():
    with pytest.raises(RuntimeError, match="linear_packed"):
        record(lambda: linear_packed(torch.empty(1, 2), torch.empty(1, 3), torch.empty(1)))
    with pytest.raises(RuntimeError, match="nothing is being recorded"):
        torch.ops._C.end_recording.default()


def test_parts_that_are_not_recordable():
    class Part:
        pass

    calls, replay = [], Replay([Part()])
    for _ in range(4):
        replay.run("key", lambda: calls.append(1))
    assert len(calls) == 4


def test_engine_replays_its_steps(tmp_path, monkeypatch):
    """Steps of one shape become replays, and answers stay what they are without."""
    folder = save_model("qwen3", tmp_path)
    prompts = [{"prompt_token_ids": [5, 6, 7 + i]} for i in range(3)]
    params = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True, detokenize=False)

    def answer():
        llm = LLM(str(folder), dtype="bfloat16", max_model_len=64)
        return llm, [o.outputs[0].token_ids for o in llm.generate(prompts, params, use_tqdm=False)]

    llm, replayed = answer()
    assert llm.llm_engine._core._runner._model._replay._recordings
    monkeypatch.setattr(Replay, "run", lambda self, key, function: function())
    assert answer()[1] == replayed
