"""Models on a GPU's path whose linear weights some kernels keep as codes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from support.logprobs import prompt_logprobs
from vllm import LLM
from vllm.layers.linear import Linear
from vllm.layers.mlp import GatedMLP
from vllm.models.parts import named_parts
from vllm.profiling.model_parts import model_of


def answers(
    folder: Path, kernels: str, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[torch.Tensor, list[type]]:
    """With these VLLM_DEVICE_KERNELS: log probabilities of a prompt, and the types of the model's packed weights."""
    monkeypatch.setenv("VLLM_DEVICE_KERNELS", kernels)
    llm = LLM(
        str(folder), dtype="bfloat16", max_model_len=64, num_gpu_blocks_override=16, attention_backend="TORCH_SDPA",
        **options,
    )  # fmt: skip
    parts = [part for _, part in named_parts(model_of(llm.llm_engine))]
    weights = [p.packed for p in parts if isinstance(p, Linear)] + [p.fused for p in parts if isinstance(p, GatedMLP)]
    return prompt_logprobs(llm, 40), [type(weight) for weight in weights]
