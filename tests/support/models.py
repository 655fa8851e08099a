"""Tiny random models in Hugging Face style folders, and transformers' answers to compare with."""

import json
from pathlib import Path
from typing import Any

from vllm.platforms import current_platform

# Tests load torch before an engine does. Its threads must not spin either, with anything else on the machine.
current_platform.prepare()

VOCAB_SIZE = 320
_COMMON = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GQA = {"num_key_value_heads": 2, "intermediate_size": 96, "tie_word_embeddings": False, "initializer_range": 0.15}
_ROPE = {"rope_theta": 10000.0}

# Name: (transformers' config class, its arguments beside the common ones).
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**_GQA}),
    "llama_tied_bias": (
        "LlamaConfig",
        {**_GQA, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "head_dim": 32},
    ),
    "llama3_rope": (
        "LlamaConfig",
        {
            **_GQA,
            "rope_parameters": {
                **_ROPE,
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "linear_rope": ("LlamaConfig", {**_GQA, "rope_parameters": {**_ROPE, "rope_type": "linear", "factor": 2.0}}),
    "yarn_rope": (
        "LlamaConfig",
        {
            **_GQA,
            "rope_parameters": {
                **_ROPE,
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 128,
            },
        },
    ),
    "mistral": ("MistralConfig", {**_GQA, "sliding_window": 24}),
    "qwen2": ("Qwen2Config", {**_GQA, "tie_word_embeddings": True}),
    "qwen2_window": (
        "Qwen2Config",
        {**_GQA, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {**_GQA, "head_dim": 32}),
    "opt": ("OPTConfig", {"ffn_dim": 96, "word_embed_proj_dim": 64, "init_std": 0.15}),
    "opt_350m_style": (
        "OPTConfig",
        {"ffn_dim": 96, "word_embed_proj_dim": 32, "do_layer_norm_before": False, "init_std": 0.15},
    ),
}


def save_model(kind: str, folder: Path, **overrides: Any) -> Path:
    """Writes a float32 model of this kind, always the same one, and a byte-level tokenizer."""
    import torch
    import transformers

    class_name, arguments = KINDS[kind]
    config = getattr(transformers, class_name)(**{**_COMMON, **arguments, **overrides})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # norms and biases start at exactly 1 and 0, which would hide mistakes
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif name.endswith("embed_positions.weight"):
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path, chat_template: str | None = None) -> None:
    """Specials, then the 256 bytes: every text is encodable, each byte a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>", "<unk>"])
    folder.mkdir(exist_ok=True, parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    if chat_template is not None:
        settings["chat_template"] = chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def mixed_prompts(count: int, longest: int = 90, seed: int = 0) -> list[list[int]]:
    """Token ids of `count` prompts with lengths from 1 to `longest`."""
    import random

    generator = random.Random(seed)
    lengths = [1 + (longest - 1) * i // max(count - 1, 1) for i in range(count)]
    generator.shuffle(lengths)
    return [[generator.randrange(3, VOCAB_SIZE) for _ in range(length)] for length in lengths]


def reference_greedy(folder: Path, prompts: list[list[int]], num_tokens: int) -> list[list[int]]:
    """transformers' greedy continuation of each prompt, one at a time, in float32."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    answers = []
    for prompt in prompts:
        cache, ids, answer = None, torch.tensor([prompt]), []
        with torch.inference_mode():
            for _ in range(num_tokens):
                out = model(ids, past_key_values=cache, use_cache=True)
                cache, ids = out.past_key_values, out.logits[:, -1:].argmax(-1)
                answer.append(ids.item())
        answers.append(answer)
    return answers


def reference_logprobs(folder: Path, token_ids: list[int]) -> Any:
    """[tokens, vocab] float32 log probabilities: row i is the distribution of token i + 1."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return torch.log_softmax(model(torch.tensor([token_ids])).logits[0], dim=-1)
