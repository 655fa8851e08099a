"""Quantised checkpoints: read to the last bit, and answered like the weights that they stand for."""

import json
from pathlib import Path

import pytest
import torch

from support.compressed_tensors_writer import COMPRESSED
from support.logprobs import prompt_logprobs
from support.quantized_checkpoints import FORMATS, write_quantized
from vllm import LLM
from vllm.checkpoint import SafetensorsCheckpoint
from vllm.quantization import linear_method
from vllm.quantization.base import QuantizedWeight

ALL = {**FORMATS, **COMPRESSED}


@pytest.fixture(scope="module", params=ALL)
def model(request, tmp_path_factory) -> tuple[str, Path, Path]:
    form = ALL[request.param]
    return request.param, *write_quantized(tmp_path_factory.mktemp(request.param), form)


def test_weights_read_as_what_they_stand_for(model):
    name, quantized, reference = model
    config = json.loads((quantized / "config.json").read_text())
    method = linear_method(config["quantization_config"]["quant_method"], config)
    stored, plain = (SafetensorsCheckpoint(folder, torch.float32) for folder in (quantized, reference))
    for layer, rows, columns in (
        ("self_attn.q_proj", 64, 64),
        ("self_attn.v_proj", 32, 64),
        ("mlp.up_proj", 128, 64),
        ("mlp.down_proj", 64, 128),
    ):
        weight = method.read(stored, f"model.layers.1.{layer}", rows, columns)
        expected = plain.take(f"model.layers.1.{layer}.weight", (rows, columns))
        assert isinstance(weight, QuantizedWeight)
        assert weight.codes.is_floating_point() == ALL[name].exact
        got = weight.dequantized()
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)


def logprobs(folder: Path, **options) -> torch.Tensor:
    llm = LLM(str(folder), dtype="float32", max_model_len=256, num_gpu_blocks_override=16, **options)
    return prompt_logprobs(llm, 100)


def test_answers_like_the_dequantised_model(model):
    name, quantized, reference = model
    got, expected = logprobs(quantized), logprobs(reference)
    if ALL[name].exact:
        assert torch.equal(got, expected)
    # 8-bit inputs: about 1 % of each product; logprobs of this model spread over several units.
    assert expected.std() > 0.5
    assert (got - expected).abs().mean() < 0.05


def test_torchs_ops_multiply_by_the_dequantised_weights(model):
    _, quantized, reference = model
    got, expected = (logprobs(folder, attention_backend="TORCH_SDPA") for folder in (quantized, reference))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
