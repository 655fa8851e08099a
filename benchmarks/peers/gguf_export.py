"""Turns a Llama or Qwen2 folder of random_models.py into a GGUF file for llama.cpp, without a tokenizer.

    python gguf_export.py MODEL_DIR OUT.gguf {BF16,Q8_0,Q4_0}

Needs gguf, numpy, safetensors and torch.
"""

import json
import os
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors import safe_open

ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2"}
TOP_LEVEL = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
IN_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if stem in TOP_LEVEL:
        return f"{TOP_LEVEL[stem]}.{kind}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{IN_LAYER[rest]}.{kind}"


def interleave_rotary(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a projection from half-split rotary order (Hugging Face) to the pairwise order of GGUF's llama."""
    rows = weight.shape[0] // heads
    return weight.reshape(heads, 2, rows // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write_header(writer: gguf.GGUFWriter, config: dict) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float((config.get("rope_parameters") or config)["rope_theta"]))
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")


def add_weight(writer: gguf.GGUFWriter, name: str, weight: np.ndarray, kind: gguf.GGMLQuantizationType) -> None:
    if weight.ndim == 1:
        writer.add_tensor(name, weight.astype(np.float32))
        return
    fits = weight.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
    stored = kind if fits else gguf.GGMLQuantizationType.F16
    writer.add_tensor(name, gguf.quants.quantize(weight, stored), raw_dtype=stored)


def main(source: Path, out: Path, kind_name: str) -> None:
    config = json.loads((source / "config.json").read_text())
    arch = ARCHITECTURES[config["model_type"]]
    half_written = out.with_suffix(".partial")
    writer = gguf.GGUFWriter(half_written, arch)
    write_header(writer, config)
    kind = gguf.GGMLQuantizationType[kind_name]
    with safe_open(source / "model.safetensors", "pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 - a safetensors file is not a mapping
            weight = tensors.get_tensor(key).float().numpy()
            if arch == "llama" and ".q_proj." in key:
                weight = interleave_rotary(weight, config["num_attention_heads"])
            if arch == "llama" and ".k_proj." in key:
                weight = interleave_rotary(weight, config["num_key_value_heads"])
            add_weight(writer, gguf_name(key), weight, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(half_written, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
