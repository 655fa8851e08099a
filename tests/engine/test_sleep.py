"""Sleep mode: memory is given back, and after waking up the answers are the same."""

from pathlib import Path

import pytest
import torch

from support.models import mixed_prompts, save_model
from support.tiny_model import write_tiny_model
from vllm import LLM, SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.worker.offload import OffloadedWeights

MIB = 2**20
PROMPTS = [{"prompt_token_ids": p} for p in mixed_prompts(5)]
GREEDY = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
STATUS = Path("/proc/self/status")


def answers(llm: LLM) -> list[list[int]]:
    return [list(o.outputs[0].token_ids) for o in llm.generate(PROMPTS, GREEDY, use_tqdm=False)]


def runner_of(llm: LLM):
    return llm.llm_engine._core._runner


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(save_model("llama", tmp_path_factory.mktemp("llama")))


@pytest.mark.parametrize(("backend", "ranks"), [("CPU_ATTN", 1), ("TORCH_SDPA", 1), ("CPU_ATTN", 2)])
@pytest.mark.parametrize("level", [1, 2])
def test_answers_after_waking_up(folder, backend, level, ranks):
    options = {"max_model_len": 256, "num_gpu_blocks_override": 64, "enable_sleep_mode": True}
    llm = LLM(folder, attention_backend=backend, tensor_parallel_size=ranks, **options)
    expected = answers(llm)
    for tags in ([None], [["weights"], ["kv_cache"]]):
        llm.sleep(level)
        assert llm.llm_engine.is_sleeping()
        with pytest.raises(VLLMValidationError, match="the engine sleeps: wake it up first"):
            answers(llm)
        for each in tags:
            assert llm.llm_engine.is_sleeping()
            llm.wake_up(each)
        assert not llm.llm_engine.is_sleeping()
        hits = llm.llm_engine.stats().prefix_cache_hits
        assert answers(llm) == expected
        assert llm.llm_engine.stats().prefix_cache_hits == hits  # what was cached is gone
        assert answers(llm) == expected


def anonymous_memory(pid: int | str = "self") -> int:
    """Bytes of a process that are in memory and of no file."""
    return int(Path(f"/proc/{pid}/status").read_text().split("RssAnon:")[1].split()[0]) * 1024


@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from /proc")
def test_another_ranks_memory_is_given_back(tmp_path):
    model = write_tiny_model(tmp_path / "model", hidden_size=1024, intermediate_size=4096, num_attention_heads=8)
    llm = LLM(
        str(model), load_format="dummy", dtype="float32", max_model_len=256, num_gpu_blocks_override=64,
        tensor_parallel_size=2, enable_sleep_mode=True,
    )  # fmt: skip
    expected = answers(llm)
    [worker] = llm.llm_engine._core._workers._workers
    before = anonymous_memory(worker.process.pid)
    llm.sleep(2)
    assert before - anonymous_memory(worker.process.pid) > 40 * MIB  # its half of the layers' weights is 61 MB
    with pytest.raises(VLLMValidationError, match="while the weights sleep: wake them first"):
        llm.wake_up(["kv_cache"])  # and no rank is lost for that
    llm.wake_up()
    assert answers(llm) == expected


@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("backend", ["CPU_ATTN", "TORCH_SDPA"])
def test_memory_is_given_back(tmp_path, backend):
    wide = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 8, "num_hidden_layers": 3}
    model = write_tiny_model(tmp_path / "model", **wide)
    llm = LLM(
        str(model), load_format="dummy", dtype="float32", max_model_len=8192, kv_cache_memory_bytes=64 * MIB,
        attention_backend=backend, enable_sleep_mode=True,
    )  # fmt: skip
    expected = answers(llm)
    llm.reset_prefix_cache()
    for attention in runner_of(llm)._model.attentions:  # the whole cache is in memory
        for tensor in attention._cache:
            tensor.zero_()
    awake = anonymous_memory()
    llm.sleep(1)
    without_cache = anonymous_memory()
    assert awake - without_cache > 56 * MIB
    llm.wake_up()
    assert answers(llm) == expected
    llm.sleep(2)
    assert without_cache - anonymous_memory() > 120 * MIB  # weights are 180 MB
    llm.wake_up()
    assert answers(llm) == expected


def test_weights_on_the_host_and_back():
    weight, other = torch.randn(40, 50), torch.randn(7, dtype=torch.float64)
    view, kept = weight[3:].t(), (weight.clone(), other.clone())
    addresses = weight.untyped_storage(), other.untyped_storage()
    offloaded = OffloadedWeights([weight, view, other, torch.empty(0)])
    assert [storage.nbytes() for storage in addresses] == [0, 0]
    offloaded.restore()
    assert torch.equal(weight, kept[0])
    assert torch.equal(view, kept[0][3:].t())
    assert torch.equal(other, kept[1])


def test_refusals(folder):
    llm = LLM(folder, max_model_len=256, num_gpu_blocks_override=64)
    with pytest.raises(VLLMValidationError, match="start the engine with enable_sleep_mode"):
        llm.sleep()
    llm = LLM(folder, max_model_len=256, num_gpu_blocks_override=64, enable_sleep_mode=True)
    with pytest.raises(VLLMValidationError, match="level=3 is not accepted: give 1 or 2"):
        llm.sleep(3)
    llm.llm_engine.add_request("running", PROMPTS[0], GREEDY)
    llm.llm_engine.step()
    with pytest.raises(VLLMValidationError, match="not accepted while requests run"):
        llm.sleep()
    llm.llm_engine.abort_request(["running"])
    llm.sleep(2)
    with pytest.raises(VLLMValidationError, match="tags=\\['heads'\\] is not accepted: give weights or kv_cache"):
        llm.wake_up(["heads"])
    with pytest.raises(VLLMValidationError, match="while the weights sleep: wake them first"):
        llm.wake_up(["kv_cache"])
