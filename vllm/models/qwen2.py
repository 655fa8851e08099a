"""Qwen2 and Qwen2.5: Llama with biases on queries, keys and values, and a sliding window on some layers."""

from typing import Any

from vllm.models.llama import LlamaForCausalLM, LlamaShape


class Qwen2ForCausalLM(LlamaForCausalLM):
    @classmethod
    def shape(cls, hf_config: dict[str, Any]) -> LlamaShape:
        shape = super().shape(hf_config)
        shape.qkv_bias, shape.output_bias, shape.mlp_bias = True, False, False
        return shape

    @staticmethod
    def sliding_window(hf_config: dict[str, Any], layer: int) -> int:
        """On layers from `max_window_layers` on, or as `layer_types` says, where `use_sliding_window` is set."""
        if not hf_config.get("use_sliding_window") or not hf_config.get("sliding_window"):
            return 0
        types = hf_config.get("layer_types")
        slides = types[layer] == "sliding_attention" if types else layer >= hf_config.get("max_window_layers", 28)
        return hf_config["sliding_window"] if slides else 0
