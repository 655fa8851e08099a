"""Builds the model that the configuration names, with its weights."""

import torch

from vllm.checkpoint import Checkpoint, DummyCheckpoint, SafetensorsCheckpoint
from vllm.config import VllmConfig
from vllm.distributed.group import SINGLE_RANK, Group
from vllm.kernels.op_set import OpSet, native_ops, torch_ops
from vllm.models.interface import BuildContext, Model
from vllm.models.registry import ModelRegistry
from vllm.quantization import linear_method

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def ops_of(config: VllmConfig) -> OpSet:
    """The ops that layers and the sampler use."""
    device = config.device_config
    if device.attention_backend == "CPU_ATTN":
        return native_ops()
    return torch_ops(device.own_kernels, DTYPES[config.model_config.dtype])


def load_model(config: VllmConfig, group: Group = SINGLE_RANK) -> Model:
    """This rank's part of the model. ModelError names file and cause where a folder does not hold a complete one."""
    model_config = config.model_config
    dtype, device = DTYPES[model_config.dtype], torch.device(config.device_config.device)
    model_class = ModelRegistry.resolve(model_config.architecture)
    checkpoint: Checkpoint
    if model_config.load_format == "dummy":
        checkpoint = DummyCheckpoint(dtype, device)
    else:
        ignored = model_class.ignored_weights(model_config.hf_config)
        checkpoint = SafetensorsCheckpoint(model_config.folder, dtype, ignored, device)
    checkpoint.ops = ops_of(config)
    checkpoint.group = group
    checkpoint.linear_method = linear_method(model_config.quantization, model_config.hf_config)
    context = BuildContext(
        hf_config=model_config.hf_config,
        checkpoint=checkpoint,
        dtype=dtype,
        max_tokens=config.scheduler_config.max_num_batched_tokens,
        max_model_len=model_config.max_model_len,
    )
    model = model_class(context)
    checkpoint.finish()
    return model
