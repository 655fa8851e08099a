"""--quantization int8 and int4: models in floating point, quantised while they are loaded."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.kernel_inputs import randn
from support.logprobs import prompt_logprobs
from support.models import save_model
from vllm import LLM, SamplingParams
from vllm.quantization.at_load import Int4, Int8

METHODS = {"int8": (Int8, 0.01), "int4": (Int4, 0.085)}


@given(st.sampled_from(list(METHODS)), st.integers(1, 40), st.integers(1, 200), st.integers(0, 9))
def test_codes_stand_for_the_weight(name, n, k, seed):
    method, _ = METHODS[name]
    weight = randn((n, k), torch.bfloat16, seed)
    weight[0, : k // 2] = 0
    quantized = method({}).quantized(weight)
    step = quantized.scales.abs().repeat_interleave(32 if name == "int4" else k, 1)[:, :k]
    # Of 4-bit codes the largest may be cut off: by two steps at most.
    bound = 2.0 if name == "int4" else 0.51
    assert ((quantized.dequantized() - weight.float()).abs() <= step * bound + 1e-6).all()


@pytest.mark.parametrize("name", METHODS)
def test_error_of_a_gaussian_weight(name):
    method, bound = METHODS[name]
    weight = randn((64, 896), torch.bfloat16, 0)
    error = method({}).quantized(weight).dequantized() - weight.float()
    assert error.norm() < bound * weight.float().norm()


@pytest.fixture(scope="module", params=["llama", "llama_tied_bias", "qwen2", "opt"])
def folder(request, tmp_path_factory) -> Path:
    return save_model(request.param, tmp_path_factory.mktemp(request.param))


def logprobs(folder: Path, **options) -> torch.Tensor:
    return prompt_logprobs(LLM(str(folder), max_model_len=128, num_gpu_blocks_override=16, **options), 80)


@pytest.mark.parametrize(("quantization", "bound"), [("int8", 0.06), ("int4", 0.5)])
def test_answers_resemble_the_models(folder, quantization, bound):
    got, expected = (logprobs(folder, dtype="float32", quantization=q) for q in (quantization, None))
    assert not torch.equal(got, expected)
    assert (got - expected).abs().mean() < bound * expected.std()


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_answers_do_not_depend_on_the_batch(folder, quantization):
    prompts = [{"prompt_token_ids": [5 + i, 9, 40 + 3 * i] * (4 + i)} for i in range(6)]
    params = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
    small, large = (
        LLM(str(folder), max_model_len=128, num_gpu_blocks_override=64, quantization=quantization, **options)
        for options in ({"max_num_seqs": 1, "max_num_batched_tokens": 8}, {})
    )
    alone, together = (
        [output.outputs[0].token_ids for output in llm.generate(prompts, params, use_tqdm=False)]
        for llm in (small, large)
    )
    assert alone == together


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_made_up_weights(folder, quantization):
    assert logprobs(folder, load_format="dummy", quantization=quantization).isfinite().all()
