"""Engine arguments from Python and from the command line, environment variables, and what importing costs."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support.models import save_tokenizer
from vllm import AsyncEngineArgs, EngineArgs, envs
from vllm.config import DeviceConfig
from vllm.engine import config_builder
from vllm.exceptions import ModelError, NotOfferedError, VLLMValidationError
from vllm.kernels.op_set import PROVEN_ON_DEVICE
from vllm.platforms import PlatformEnum, gpu
from vllm.platforms.gpu import Gpu, GpuPlatform

CONFIG = (
    '{"architectures": ["LlamaForCausalLM"], "vocab_size": 320, "max_position_embeddings": 512, "dtype": "float16"}'
)


@pytest.fixture
def folder(tmp_path):
    save_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(CONFIG)
    return str(tmp_path)


def parse(*flags):
    parser = argparse.ArgumentParser(exit_on_error=False)
    return AsyncEngineArgs.from_cli_args(AsyncEngineArgs.add_cli_args(parser).parse_args(flags))


def test_defaults(folder):
    config = EngineArgs(model=folder).create_engine_config()
    assert (config.model_config.dtype, config.model_config.max_model_len) == ("float16", 512)
    assert config.model_config.served_model_name == [folder]
    assert config.cache_config.enable_prefix_caching and config.cache_config.block_size == 32


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["--max-model-len", "4k"], "max_model_len", 4000),
        (["--max-model-len", "1.5K"], "max_model_len", 1536),
        (["--max-model-len", "10.2123k"], "max_model_len", 10212),
        (["--max-num-batched-tokens", "8.2k"], "max_num_batched_tokens", 8200),
        (["--kv-cache-memory-bytes", "2T"], "kv_cache_memory_bytes", 2**41),
        (["--max-model-len", "-1"], "max_model_len", -1),
        (["--max-model-len", "AUTO"], "max_model_len", -1),
        (["--hf-token"], "hf_token", True),
        (["--hf-token", "secret"], "hf_token", "secret"),
        (["--device-memory-utilization", "0.5"], "gpu_memory_utilization", 0.5),
        (["--disable-prefix-caching"], "enable_prefix_caching", False),
        (["--enable-log-stats"], "disable_log_stats", False),
        (["--no-enable-prefix-caching"], "enable_prefix_caching", False),
        (["--served-model-name", "a", "b"], "served_model_name", ["a", "b"]),
        (["--hf-overrides", '{"rope_theta": 5}'], "hf_overrides", {"rope_theta": 5}),
        (["--enable-log-requests"], "enable_log_requests", True),
        ([], "max_num_seqs", None),
    ],
)
def test_flags(flags, field, value):
    assert getattr(parse(*flags), field) == value


def test_flags_that_are_absent_have_their_defaults():
    given = vars(AsyncEngineArgs.add_cli_args(argparse.ArgumentParser()).parse_args([]))
    assert given == vars(AsyncEngineArgs())
    assert (given["model"], given["max_model_len"], given["hf_overrides"]) == ("Qwen/Qwen3-0.6B", None, {})
    only = AsyncEngineArgs.add_cli_args(argparse.ArgumentParser(), async_args_only=True).parse_args([])
    assert vars(only) == {"enable_log_requests": False}


def test_chosen_sampling_parameters(folder):
    (Path(folder) / "generation_config.json").write_text('{"temperature": 0.7, "top_k": 20, "do_sample": true}')
    for chosen, values in (
        ({}, {"temperature": 0.7, "top_k": 20}),
        ({"override_generation_config": {"top_k": 5}}, {"temperature": 0.7, "top_k": 5}),
        ({"generation_config": "vllm"}, {}),
        ({"generation_config": "vllm", "override_generation_config": {"top_p": 0.5}}, {"top_p": 0.5}),
    ):
        arguments = EngineArgs(model=folder, load_format="dummy", **chosen)
        assert arguments.create_engine_config().model_config.get_diff_sampling_param() == values


@pytest.mark.parametrize(
    "flags",
    [["--max-model-len", "4x"], ["--max-model-len", "1.23M"], ["--hf-overrides", "[1]"], ["--load-format", "pickle"]],
)
def test_bad_flags(flags):
    with pytest.raises(argparse.ArgumentError):
        parse(*flags)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size=2 is not offered yet: give 1"),
        ({"distributed_executor_backend": "ray"}, "give None or 'uni'"),
        ({"logits_processors": ["x"]}, "logits_processors=.* is not offered yet"),
        ({"enable_lora": True}, "enable_lora=True is not offered yet"),
        ({"mm_processor_kwargs": {"a": 1}}, "mm_processor_kwargs={'a': 1} is not offered yet: models take text only"),
        ({"enable_expert_parallel": True}, "enable_expert_parallel=True is not offered yet: a model runs once"),
        ({"stream_interval": 8}, "stream_interval=8 is not offered yet"),
        ({"enable_trace_replay": True}, "enable_trace_replay=True is not offered yet: sampling cannot"),
        ({"device": "neuron"}, "device='neuron' is not offered yet: a GPU that torch can use is used"),
    ],
)
def test_not_offered(arguments, expected):
    with pytest.raises(NotOfferedError, match=expected):
        EngineArgs(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mm_processor_kwargs": None, "enable_expert_parallel": False, "allowed_local_media_path": ""},
        {"attention_config": {}, "worker_extension_cls": "", "ignore_patterns": []},
        {"stream_interval": 1, "mm_processor_cache_gb": 4.0},
        {"task": "generate"},
        {"swap_space": 4, "structured_outputs_config": {}, "lora_modules": []},
        {"seed": None},
        {"async_scheduling": True, "compilation_config": {"cudagraph_capture_sizes": [4]}},
        {"kernel_config": {"enable_jit_warmup": False}, "compilation_config": 3},
        {"disable_custom_all_reduce": True, "disable_cascade_attn": True},
        {"device": "auto", "linear_backend": "auto", "swa_bounded_replay": True, "watermark": 0.0},
    ],
)
@pytest.mark.parametrize("kind", [EngineArgs, AsyncEngineArgs])
def test_what_asks_for_nothing_is_accepted(kind, arguments):
    assert kind(**arguments).seed == 0


def test_unknown_names():
    with pytest.raises(VLLMValidationError, match=r"^unknown argument 'max_num_seq': did you mean max_num_seqs"):
        EngineArgs(max_num_seq=1)
    with pytest.raises(VLLMValidationError, match=r"^unknown argument 'enable_log_requests': "):
        EngineArgs(enable_log_requests=True)
    assert AsyncEngineArgs(enable_log_requests=True).enable_log_requests


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"logprobs_mode": "logits"}, "logprobs_mode=.logits. is not accepted: give one of raw_logprobs"),
        ({"dtype": "int8"}, "dtype='int8' is not accepted: give one of auto, bfloat16"),
        ({"block_size": 10}, "block_size=10 is not accepted"),
        ({"max_num_seqs": 0}, "max_num_seqs=0 is not accepted: give an integer from 1"),
        ({"max_model_len": 513}, "made for at most 512 tokens"),
        ({"max_num_batched_tokens": 4, "max_num_seqs": 8}, "must be at least max_num_seqs, which is 8"),
        ({"enable_chunked_prefill": False, "max_num_batched_tokens": 256}, "at least max_model_len, which is 512"),
        ({"scheduling_policy": "random"}, "scheduling_policy='random' is not accepted"),
        ({"kv_cache_memory_bytes": -1}, "kv_cache_memory_bytes=-1 is not accepted"),
        (
            {"attention_backend": "FLASH"},
            "attention_backend='FLASH' is not accepted: give one of CPU_ATTN, FLASH_ATTN, ",
        ),
        (
            {"attention_backend": "FLASH_ATTN"},
            "'FLASH_ATTN' is not accepted: it needs an NVIDIA GPU; give that, or CPU_",
        ),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization=1.5 is not accepted: give a share greater than 0"),
    ],
)
def test_refused(folder, arguments, expected):
    with pytest.raises(VLLMValidationError, match=expected):
        EngineArgs(model=folder, **arguments).create_engine_config()


@pytest.mark.parametrize(
    "arguments",
    [
        {"speculative_config": {"method": "eagle3", "model": "a/draft"}},
        {"quantization": "bitsandbytes"},
        {"load_format": "tensorizer"},
    ],
)
def test_what_is_not_offered_is_refused_before_a_model_is_looked_for(arguments):
    (name,) = arguments
    with pytest.raises(VLLMValidationError, match=f"^{name}=.* is not accepted: give "):
        EngineArgs(model="nobody/has-this-model", **arguments).create_engine_config()


def test_a_gpu_is_used_by_torchs_ops_where_the_platform_is_one(folder, monkeypatch):
    monkeypatch.setattr(config_builder, "current_platform", GpuPlatform(PlatformEnum.CUDA))
    config = EngineArgs(model=folder, gpu_memory_utilization=0.5, enforce_eager=True).create_engine_config()
    assert config.device_config == DeviceConfig("cuda", "FLASH_ATTN", PROVEN_ON_DEVICE, 0.5, True)
    assert (config.scheduler_config.max_num_batched_tokens, config.cache_config.block_size) == (2048, 256)
    monkeypatch.setenv("VLLM_DEVICE_KERNELS", "rms_norm")
    assert EngineArgs(model=folder).create_engine_config().device_config.own_kernels == {"rms_norm"}
    config = EngineArgs(model=folder, attention_backend="CPU_ATTN").create_engine_config()
    assert config.device_config == DeviceConfig()


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ({"dtype": "float32"}, "dtype bfloat16 or float16"),
        ({"kv_cache_dtype": "fp8"}, "a KV cache of the model's dtype (kv_cache_dtype auto)"),
        ({"block_size": 16}, "block_size 256"),
    ],
)
def test_what_flash_attention_cannot_do_is_left_to_other_ops(folder, arguments, needed, monkeypatch):
    monkeypatch.setattr(config_builder, "current_platform", GpuPlatform(PlatformEnum.CUDA))
    config = EngineArgs(model=folder, **arguments).create_engine_config()
    assert config.device_config.attention_backend == "TORCH_SDPA"
    assert config.cache_config.block_size == arguments.get("block_size", 32)
    message = f"attention_backend='flash_attn' is not accepted: it needs {needed}; give that, or TORCH_SDPA"
    with pytest.raises(VLLMValidationError, match=f"^{re.escape(message)}$"):
        EngineArgs(model=folder, attention_backend="flash_attn", **arguments).create_engine_config()


def test_each_rank_needs_a_gpu(folder, monkeypatch):
    monkeypatch.setattr(config_builder, "current_platform", GpuPlatform(PlatformEnum.CUDA))
    monkeypatch.setattr(gpu, "nvidia_gpus", lambda: [Gpu("A", 1, 1)] * 2)
    arguments = EngineArgs(model=folder, tensor_parallel_size=2)
    assert arguments.create_engine_config().parallel_config.tensor_parallel_size == 2
    arguments.tensor_parallel_size = 4
    with pytest.raises(VLLMValidationError, match=r"^tensor_parallel_size=4 is not accepted: this process sees 2 GPUs"):
        arguments.create_engine_config()
    arguments.attention_backend = "CPU_ATTN"
    assert arguments.create_engine_config().parallel_config.tensor_parallel_size == 4


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("tokenizer", 5, "text or None"),
        ("dtype", ["float32"], "text"),
        ("served_model_name", {"a": 1}, "a list of text or text or None"),
        ("served_model_name", [5], "a list of text or text or None"),
        ("hf_overrides", [1], "a dict with text as keys"),
        ("speculative_config", "ngram", "a dict with text as keys or None"),
        ("max_num_seqs", 2.5, "an integer or None"),
        ("max_num_seqs", True, "an integer or None"),
        ("gpu_memory_utilization", "0.5", "a number"),
        ("enforce_eager", "yes", "True or False"),
        ("attention_backend", b"CPU_ATTN", "text or None"),
    ],
)
def test_wrong_types_are_refused(field, value, accepted):
    with pytest.raises(VLLMValidationError, match=rf"^{field}=.* is not accepted: give {accepted}$"):
        EngineArgs(**{field: value})


def test_other_forms_of_values(folder):
    paths = {"model": Path(folder), "tokenizer": Path(folder), "download_dir": Path(folder)}
    arguments = EngineArgs(**paths, dtype=torch.bfloat16, hf_overrides=None, override_generation_config=None)
    config = arguments.create_engine_config()
    assert (config.model_config.dtype, config.model_config.served_model_name) == ("bfloat16", [folder])


def test_no_model():
    with pytest.raises(ModelError, match="no model was given"):
        EngineArgs(model="").create_engine_config()


def test_rope_extension_lengthens_the_model(folder):
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "rope_theta": 1e4}
    config = EngineArgs(model=folder, hf_overrides={"rope_scaling": yarn}).create_engine_config()
    assert config.model_config.max_model_len == 2048


def test_environment_variables(monkeypatch):
    assert envs.VLLM_CPU_KVCACHE_SPACE is None or envs.VLLM_CPU_KVCACHE_SPACE > 0
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "0.5")
    assert envs.VLLM_CPU_KVCACHE_SPACE == 0.5
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "0")
    assert envs.VLLM_CPU_KVCACHE_SPACE is None
    for bad in ("lots", "-1", "nan"):
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", bad)
        with pytest.raises(VLLMValidationError, match="give a number greater than 0"):
            _ = envs.VLLM_CPU_KVCACHE_SPACE
    with pytest.raises(AttributeError, match="VLLM_NO_SUCH"):
        _ = envs.VLLM_NO_SUCH


def test_importing_and_configuring_load_no_torch(folder):
    code = (
        "import sys; from vllm import SamplingParams, EngineArgs, RequestOutput; "
        f"EngineArgs(model={folder!r}).create_engine_config(); "
        "from vllm.platforms import current_platform as p; assert p.free_memory() > 0; "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
