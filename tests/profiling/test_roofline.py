"""Bytes and operations of a step, counted by hand from the tiny model's configuration; shares of the limits."""

import dataclasses
from pathlib import Path

import pytest
import torch

from support.tiny_model import HEADS, HIDDEN, INTERMEDIATE, KV_HEADS, LAYERS, write_tiny_model
from vllm import LLM, SamplingParams
from vllm.attention.cache_format import CacheFormat
from vllm.kernels import scaled_weight
from vllm.kernels.torch_ops import scaled_weight as torch_scaled_weight
from vllm.profiling.cost import ModelCost, SequenceStep, _Weights
from vllm.profiling.limits import Limits, measure_limits
from vllm.profiling.model_parts import model_of
from vllm.profiling.roofline import Observation, ObservedStep, observe, roofline, share

HEAD_SIZE = HIDDEN // HEADS
KV_WIDTH = KV_HEADS * HEAD_SIZE
# Elements of the weights of a layer: query, keys and values, output; gate, up, down.
QKV = HIDDEN * (HIDDEN + 2 * KV_WIDTH)
AFTER_ATTENTION = HIDDEN * HIDDEN + 3 * HIDDEN * INTERMEDIATE
LAYER = QKV + AFTER_ATTENTION
# What is computed for all tokens: after the last attention only for those whose logits are wanted.
FOR_ALL = (LAYERS - 1) * LAYER + QKV


def load(folder: Path, **options: object) -> LLM:
    return LLM(str(folder), max_model_len=256, kv_cache_memory_bytes=16 << 20, **options)


def cost_of(llm: LLM, dtype: torch.dtype, cache_dtype: str = "auto") -> ModelCost:
    return ModelCost(model_of(llm.llm_engine), CacheFormat.of(cache_dtype, dtype))


def test_a_prefill_step(model_folder: Path) -> None:
    llm = load(model_folder, dtype="float32")
    vocab_size = llm.llm_engine.config.model_config.vocab_size
    cost = cost_of(llm, torch.float32).of_step([SequenceStep(start=0, count=9, sampled=1)])
    attention = LAYERS * 4 * HIDDEN * sum(range(1, 10))
    assert cost.flops == 2 * 9 * FOR_ALL + 2 * (AFTER_ATTENTION + HIDDEN * vocab_size) + attention
    assert cost.int8 == 0
    cache = LAYERS * 2 * KV_WIDTH * 4 * (9 + 9)
    padded_vocab = -(-vocab_size // 32) * 32
    assert cost.bytes == 4 * (LAYERS * LAYER + HIDDEN * padded_vocab) + cache


def test_a_decode_step_reads_the_weights_once_and_every_cache(model_folder: Path) -> None:
    cost = cost_of(load(model_folder, dtype="float32"), torch.float32)
    one, two = (cost.of_step([SequenceStep(100, 1, 1)] * n) for n in (1, 2))
    assert two.bytes - one.bytes == LAYERS * 2 * KV_WIDTH * 4 * (101 + 1)
    assert two.flops == 2 * one.flops


def test_codes_of_the_cache_count_with_their_scales(model_folder: Path) -> None:
    llm = load(model_folder, dtype="float32")
    one, two = (
        cost_of(llm, torch.float32, "int8_per_token_head").of_step([SequenceStep(100, 1, 1)] * n) for n in (1, 2)
    )
    assert two.bytes - one.bytes == LAYERS * 2 * (KV_WIDTH + 4 * KV_HEADS) * (101 + 1)


def test_a_chunk_that_samples_nothing_needs_no_head(model_folder: Path) -> None:
    cost = cost_of(load(model_folder, dtype="float32"), torch.float32)
    chunk, last = (cost.of_step([SequenceStep(0, 8, sampled)]) for sampled in (0, 1))
    assert last.bytes - chunk.bytes >= 4 * HIDDEN * 260


def test_a_sliding_window_bounds_keys(tmp_path: Path) -> None:
    folder = write_tiny_model(
        tmp_path / "windowed", architectures=["MistralForCausalLM"], model_type="mistral", sliding_window=16
    )
    llm = load(folder, dtype="float32")
    cost = cost_of(llm, torch.float32)
    fits, beyond, far = (cost.of_step([SequenceStep(start, 1, 1)]) for start in (15, 16, 200))
    assert fits == beyond == far
    keys = [min(position + 1, 16) for position in range(10, 40)]
    step = cost.of_step([SequenceStep(10, 30, 0)])
    assert step.flops == 2 * 30 * FOR_ALL + LAYERS * 4 * HIDDEN * sum(keys)


def test_quantised_weights_count_at_their_packed_size(model_folder: Path) -> None:
    step = [SequenceStep(0, 1, 0)]
    plain = cost_of(load(model_folder, dtype="bfloat16"), torch.bfloat16).of_step(step)
    int8, int4 = (
        cost_of(load(model_folder, dtype="bfloat16", quantization=name), torch.bfloat16).of_step(step)
        for name in ("int8", "int4")
    )
    assert int4.bytes < 0.75 * int8.bytes < 0.75 * plain.bytes
    assert int8.int8 == int4.int8 == 2 * FOR_ALL
    assert plain.flops == int8.flops + int8.int8


def test_a_screened_head_counts_as_its_screen_where_likeliest_tokens_are_wanted(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vllm.layers.output_head.MIN_ELEMENTS", 1)
    llm = load(model_folder, dtype="bfloat16")
    weight = HIDDEN * llm.llm_engine.config.model_config.vocab_size
    cost = cost_of(llm, torch.bfloat16)
    logits, tokens = (cost.of_step([SequenceStep(100, 1, 1, likeliest)]) for likeliest in (False, True))
    assert 0.9 * weight < logits.bytes - tokens.bytes < 1.1 * weight
    assert logits.flops - tokens.flops == tokens.int8 == 2 * weight


@pytest.mark.parametrize("kind", [scaled_weight.ScaledWeight, torch_scaled_weight.ScaledWeight])
@pytest.mark.parametrize(("dtype", "is_int8"), [(torch.int8, True), (torch.float8_e4m3fn, False)])
def test_weights_of_8_bits_of_a_gpu(kind: type, dtype: torch.dtype, is_int8: bool) -> None:
    weights = _Weights()
    weights.add(kind(torch.zeros(8, 16).to(dtype), torch.ones(1, 8)), 128)
    cost = weights.cost(rows=2)
    assert (cost.bytes, cost.int8, cost.flops) == (128 + 32, 512 * is_int8, 512 * (not is_int8))


def test_the_limits_of_a_gpu_are_not_those_of_its_host(model_folder: Path) -> None:
    llm = load(model_folder)
    with observe() as observation:
        llm.generate("a", SamplingParams(max_tokens=2), use_tqdm=False)
    device = dataclasses.replace(llm.llm_engine.config.device_config, device="cuda")
    llm.llm_engine.config = dataclasses.replace(llm.llm_engine.config, device_config=device)
    assert roofline(llm.llm_engine, observation) is None


def test_steps_of_a_run_are_noted(model_folder: Path) -> None:
    llm = load(model_folder, dtype="float32")
    prompts = [{"prompt_token_ids": list(range(10, 10 + length))} for length in (5, 7)]
    with observe() as observation:
        llm.generate(prompts, SamplingParams(temperature=0, max_tokens=4, ignore_eos=True), use_tqdm=False)
    llm.generate(prompts, SamplingParams(temperature=0, max_tokens=2), use_tqdm=False)
    assert [step.is_prefill for step in observation.steps] == [True, False, False, False]
    assert observation.steps[0].sequences == [SequenceStep(0, 5, 1, True), SequenceStep(0, 7, 1, True)]
    assert observation.steps[-1].sequences == [SequenceStep(7, 1, 1, True), SequenceStep(9, 1, 1, True)]
    assert all(step.seconds > 0 for step in observation.steps)


def test_shares_are_times_over_time(model_folder: Path) -> None:
    model = cost_of(load(model_folder, dtype="float32"), torch.float32)
    sequences = [SequenceStep(50, 1, 1)]
    cost = model.of_step(sequences)
    limits = Limits(bytes_per_second=cost.bytes * 10, flops_per_second=cost.flops * 100)
    steps = [ObservedStep(sequences, False, 0.2), ObservedStep(sequences, False, 0.3)]
    found = share(steps, model, limits)
    assert found.memory == pytest.approx(0.2 / 0.5)
    assert found.arithmetic == pytest.approx(0.02 / 0.5)
    assert share(Observation().steps, model, limits) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_limits_are_plausible(dtype: torch.dtype) -> None:
    limits = measure_limits(dtype, int8=dtype == torch.bfloat16)
    assert 1e8 < limits.bytes_per_second < 1e13
    assert 1e8 < limits.flops_per_second < 1e15
    assert (limits.int8_per_second > 1e8) == (dtype == torch.bfloat16)
