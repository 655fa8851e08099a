"""--tensor-parallel-size: the answers of one process, from several that have a part of the model each."""

from pathlib import Path

import pytest
import torch

from support.logprobs import prompt_logprobs
from support.models import mixed_prompts, save_model
from support.quantized_checkpoints import FORMATS, write_quantized
from vllm import LLM, SamplingParams
from vllm.layers.output_head import OutputHead
from vllm.profiling.model_parts import model_of

GREEDY = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
CACHE_BYTES, BLOCK = 1 << 19, 32
REPLAYED = ("llama", "qwen2", "mistral", "qwen3")  # with their exchanges; see layers/replay.py


def load(folder: Path, ranks: int, **options) -> LLM:
    return LLM(
        str(folder),
        dtype="float32",
        max_model_len=256,
        kv_cache_memory_bytes=CACHE_BYTES,
        block_size=BLOCK,
        max_num_batched_tokens=64,
        max_num_seqs=8,
        tensor_parallel_size=ranks,
        **options,
    )


def answers(llm: LLM) -> list[list[int]]:
    """Prompts of many lengths, some of them in several steps, then all of them decoded together."""
    prompts = [{"prompt_token_ids": prompt} for prompt in mixed_prompts(6)]
    return [list(output.outputs[0].token_ids) for output in llm.generate(prompts, GREEDY, use_tqdm=False)]


@pytest.mark.parametrize(
    ("kind", "ranks", "overrides"),
    [
        ("llama", 2, {"vocab_size": 321}),  # no even number
        ("qwen2", 2, {}),  # biases, a tied head
        ("llama_tied_bias", 4, {}),  # biases everywhere, two ranks to each head of keys and values
        ("opt_350m_style", 2, {}),
        ("mistral", 2, {}),  # a sliding window
        ("qwen3", 2, {}),  # norms of the heads
    ],
)
def test_the_same_tokens_as_with_one_rank(kind, ranks, overrides, tmp_path):
    folder = save_model(kind, tmp_path, **overrides)
    alone, together = load(folder, 1), load(folder, ranks)
    assert answers(together) == answers(alone)
    torch.testing.assert_close(prompt_logprobs(together, 150), prompt_logprobs(alone, 150), rtol=0, atol=1e-4)
    for llm in (alone, together):  # the KV cache's memory is each rank's own, for its heads
        shapes = [attention.shape for attention in model_of(llm.llm_engine).attentions]
        block_bytes = sum(2 * BLOCK * shape.num_kv_heads * shape.head_size * 4 for shape in shapes)
        assert llm.llm_engine.stats().kv_cache_tokens == CACHE_BYTES // block_bytes * BLOCK
        if kind in REPLAYED:
            assert model_of(llm.llm_engine)._replay._recordings


def test_heads_that_are_screened(tmp_path):
    """Of greedy answers each rank sends the likeliest of its tokens, which it finds without all of its logits."""
    folder = save_model("llama", tmp_path, vocab_size=140_001)
    alone, together = load(folder, 1), load(folder, 2)
    assert all(llm_head(llm).screened is not None for llm in (alone, together))
    assert answers(together) == answers(alone)


def llm_head(llm: LLM) -> OutputHead:
    head = model_of(llm.llm_engine)._head
    return head if isinstance(head, OutputHead) else head._head


def test_a_quantised_checkpoint(tmp_path):
    folder, _ = write_quantized(tmp_path, FORMATS["gptq4_zeros"])
    assert answers(load(folder, 2)) == answers(load(folder, 1))


@pytest.mark.parametrize(
    ("kernels", "cache", "tolerance"),
    [
        pytest.param("", "auto", 1e-4, id="eager"),
        pytest.param("cuda_graphs", "auto", 1e-4, id="replayed"),
        # Where sums differ in their last bit, so does now and then a code.
        pytest.param("cuda_graphs", "fp8_per_token_head", 1e-2, id="replayed, 8-bit cache"),
    ],
)
def test_the_path_of_gpus(kernels, cache, tolerance, tmp_path, monkeypatch):
    """Each rank brings a step's inputs to its device by itself, and pads it where it replays."""
    monkeypatch.setenv("VLLM_DEVICE_KERNELS", kernels)
    folder = save_model("qwen2", tmp_path, vocab_size=321)
    alone, together = (load(folder, ranks, attention_backend="TORCH_SDPA", kv_cache_dtype=cache) for ranks in (1, 2))
    torch.testing.assert_close(prompt_logprobs(together, 150), prompt_logprobs(alone, 150), rtol=0, atol=tolerance)
    if cache == "auto":
        assert answers(together) == answers(alone)
