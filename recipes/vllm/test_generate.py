"""Generate from a tiny Llama with random weights, written here: the package works from configuration to text."""

import json
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from vllm import LLM, SamplingParams

HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE = 64, 2, 4, 2, 128
WORDS = ["<unk>", "<eos>", *(f"w{i}" for i in range(62))]
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "vocab_size": len(WORDS),
    "eos_token_id": 1,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


def weights() -> dict[str, np.ndarray]:
    """Random weights under the names of Hugging Face's Llama; norms are [hidden], the rest [out, in]."""
    kv = HIDDEN * KV_HEADS // HEADS
    shapes = {"model.embed_tokens.weight": (len(WORDS), HIDDEN), "lm_head.weight": (len(WORDS), HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        shapes |= {f"{prefix}self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qo"}
        shapes |= {f"{prefix}self_attn.{name}_proj.weight": (kv, HIDDEN) for name in "kv"}
        shapes |= {f"{prefix}mlp.{name}_proj.weight": (INTERMEDIATE, HIDDEN) for name in ("gate", "up")}
        shapes[f"{prefix}mlp.down_proj.weight"] = (HIDDEN, INTERMEDIATE)
    random = np.random.default_rng(0)
    tensors = {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = [f"model.layers.{i}.{kind}_layernorm.weight" for i in range(LAYERS) for kind in ("input", "post_attention")]
    return tensors | {name: np.ones(HIDDEN, np.float32) for name in [*norms, "model.norm.weight"]}


def write_model(folder: Path) -> None:
    """Write the three files that a model folder needs."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(weights(), folder / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        llm = LLM(model=folder, dtype="float32", max_model_len=64)
        params = SamplingParams(temperature=0.0, max_tokens=16, ignore_eos=True)
        prompts = ["w1 w2 w3", "w9 w8 w7 w6 w5"]
        batch = [output.outputs[0] for output in llm.generate(prompts, params)]
        alone = [llm.generate([prompt], params)[0].outputs[0] for prompt in prompts]
    for together, single in zip(batch, alone, strict=True):
        assert len(together.token_ids) == 16, together
        assert list(together.token_ids) == list(single.token_ids), "a batch must not change greedy tokens"
        assert together.text.split()[0] in WORDS, together.text
        print("generated:", together.text)


if __name__ == "__main__":
    main()
