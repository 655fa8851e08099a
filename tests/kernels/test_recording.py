"""A recording repeats kernel calls on what their memory holds now; what cannot be repeated is not recorded."""

import pytest
import torch

from support.models import save_model
from vllm import LLM, SamplingParams
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
