"""Qwen3 (dense): Qwen2 with RMS norms on each head's query and key, and biases only where the config says so."""

from typing import Any

from vllm.models.llama import LlamaShape
from vllm.models.qwen2 import Qwen2ForCausalLM


class Qwen3ForCausalLM(Qwen2ForCausalLM):
    @classmethod
    def shape(cls, hf_config: dict[str, Any]) -> LlamaShape:
        shape = super().shape({"head_dim": 128, **hf_config})
        shape.qkv_bias = shape.output_bias = bool(hf_config.get("attention_bias", False))
        shape.qk_norm = True
        return shape
