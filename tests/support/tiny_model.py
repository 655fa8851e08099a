"""A Llama of random weights, small enough to make and to serve in a moment; no transformers needed."""

import json
from pathlib import Path

HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE = 64, 2, 4, 2, 128
MAX_POSITION = 8192
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
_CORPUS = ["the quick brown fox jumps over the lazy dog", "a served model answers what it was asked", "über façade"] * 4


def write_tiny_model(folder: Path, *, seed: int = 0, **config: object) -> Path:
    """Writes config.json, weights (float32), tokenizer and chat template; `config` replaces values of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = _write_tokenizer(folder)
    values = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": vocab_size,
        "max_position_embeddings": MAX_POSITION,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(values | config))
    _write_weights(folder, vocab_size, seed)
    return folder


def _write_tokenizer(folder: Path) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer.get_vocab_size()


def _write_weights(folder: Path, vocab_size: int, seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    head_size = HIDDEN // HEADS

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * columns**-0.5

    tensors = {
        "model.embed_tokens.weight": torch.randn(vocab_size, HIDDEN, generator=generator),
        "lm_head.weight": matrix(vocab_size, HIDDEN),
        "model.norm.weight": torch.ones(HIDDEN),
    }
    for layer in range(LAYERS):
        tensors |= {
            f"model.layers.{layer}.{name}": value
            for name, value in {
                "self_attn.q_proj.weight": matrix(HEADS * head_size, HIDDEN),
                "self_attn.k_proj.weight": matrix(KV_HEADS * head_size, HIDDEN),
                "self_attn.v_proj.weight": matrix(KV_HEADS * head_size, HIDDEN),
                "self_attn.o_proj.weight": matrix(HIDDEN, HEADS * head_size),
                "mlp.gate_proj.weight": matrix(INTERMEDIATE, HIDDEN),
                "mlp.up_proj.weight": matrix(INTERMEDIATE, HIDDEN),
                "mlp.down_proj.weight": matrix(HIDDEN, INTERMEDIATE),
                "input_layernorm.weight": torch.ones(HIDDEN),
                "post_attention_layernorm.weight": torch.ones(HIDDEN),
            }.items()
        }
    save_file(tensors, folder / "model.safetensors")
