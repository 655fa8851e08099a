"""Which method a model is loaded with, and what is refused, before any weight is read."""

import json
import re
import shutil

import pytest
import torch

from support.quantized_checkpoints import FORMATS, write_quantized
from support.tiny_model import write_tiny_model
from vllm import EngineArgs
from vllm.checkpoint import SafetensorsCheckpoint
from vllm.exceptions import ModelError, VLLMValidationError
from vllm.quantization import choose_method, linear_method
from vllm.quantization.base import QuantizedWeight


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return str(write_tiny_model(tmp_path_factory.mktemp("plain") / "model"))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    return str(write_quantized(tmp_path_factory.mktemp("quantized"), FORMATS["gptq4"])[0])


def chosen(folder: str, quantization: str | None) -> str | None:
    return EngineArgs(model=folder, quantization=quantization).create_engine_config().model_config.quantization


def test_choices(plain, quantized):
    assert choose_method(None, {"quantization_config": None}, plain) is None
    assert chosen(plain, None) is None
    assert chosen(plain, "int8") == "int8"
    assert {chosen(quantized, name) for name in (None, "gptq", "gptq_marlin", "auto_gptq")} == {"gptq"}


@pytest.mark.parametrize(
    ("name", "stored", "method"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 32, "desc_act": False, "model_file_base_name": "m"}, "gptq"),
        ("quantize_config.json", {"quant_method": "awq", "bits": 4, "group_size": 32}, "awq"),
        ("quant_config.json", {"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}, "awq"),
    ],
)
def test_described_beside_config_json(tmp_path, name, stored, method):
    folder, _ = write_quantized(tmp_path, FORMATS["gptq4" if method == "gptq" else "awq"])
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / name).write_text(json.dumps(stored))
    model = EngineArgs(model=str(folder)).create_engine_config().model_config
    assert model.quantization == method
    weight = linear_method(method, model.hf_config).read(
        SafetensorsCheckpoint(folder, torch.float32), "model.layers.0.mlp.up_proj", 128, 64
    )
    assert isinstance(weight, QuantizedWeight) and weight.group_size == 32


def test_config_json_comes_first(quantized, tmp_path):
    folder = shutil.copytree(quantized, tmp_path / "model")
    (folder / "quant_config.json").write_text("{}")
    assert chosen(str(folder), None) == "gptq"


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ("bitsandbytes", "quantization='bitsandbytes' is not accepted: give one of int8, int4, gptq, awq"),
        ("awq", "quantization='awq' is not accepted: .* is not quantised; to quantise it .* give int8 or int4"),
    ],
)
def test_refused_for_a_plain_model(plain, quantization, message):
    with pytest.raises(VLLMValidationError, match=message):
        chosen(plain, quantization)


@pytest.mark.parametrize("quantization", ["awq", "int4"])
def test_refused_for_a_quantised_model(quantized, quantization):
    with pytest.raises(VLLMValidationError, match=f"'{quantization}' is not accepted: .* is quantised by gptq; leave"):
        chosen(quantized, quantization)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"quant_method": "bitsandbytes"},
            "is quantised by 'bitsandbytes', which is not supported; supported are gptq",
        ),
        ({}, "is quantised by None"),
        ("gptq", "is quantised by None"),
    ],
)
def test_unknown_methods(plain, config, message):
    with pytest.raises(ModelError, match=message):
        choose_method(None, {"quantization_config": config}, plain)


def transformed(*places) -> dict:
    groups = {"R": {"type": "hadamard", "apply": [{"targets": ["Linear"], "location": place} for place in places]}}
    return {**compressed(), "transform_config": {"config_groups": groups}}


def compressed(**group) -> dict:
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quant_method": "gptq", "bits": 3}, "bits=3 is not supported; supported: 4, 8"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 20}, "group_size=20 is not supported"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "checkpoint_format='marlin' is not supp"),
        ({"quant_method": "awq", "bits": 8}, "bits=8 is not supported; supported: 4"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "version='gemv' is not supported; supported: 'gemm'"),
        ({"quant_method": "fp8", "fmt": "e5m2"}, "fmt='e5m2' is not supported"),
        (compressed(weights={"type": "float", "num_bits": 4}), "weights of type float with 4 bits are not supported"),
        (compressed(format="nvfp4-pack-quantized"), "format='nvfp4-pack-quantized' is not supported"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*up": {"bits": 3}}}, "bits=3 is not supported"),
        (transformed("weight_input", "input", "k_cache"), "transform_config 'R' of input, k_cache is not supported"),
        ({**compressed(), "sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity format='sparse-24-bitmask'"),
    ],
)
def test_options_that_are_not_supported(config, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        linear_method(config["quant_method"], {"quantization_config": config})


def test_rotations_that_weights_hold():
    linear_method("compressed-tensors", {"quantization_config": transformed("weight_input", "weight_output")})
