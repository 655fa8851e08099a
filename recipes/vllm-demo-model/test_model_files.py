"""Checks the installed model folder with the standard library alone: files parse and fit together."""

import json
import math
import os
import struct
from pathlib import Path

FOLDER = Path(os.environ.get("CONDA_PREFIX") or os.environ["PREFIX"]) / "share/vllm/models/vllm-demo-model"
LIMIT_BYTES = 8_000_000


def read(name: str) -> dict:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def check_weights(config: dict) -> None:
    """The header is complete, tensors fill the file, and shapes are those of config.json."""
    content = (FOLDER / "model.safetensors").read_bytes()
    assert len(content) <= LIMIT_BYTES, f"{len(content)} bytes of weights, at most {LIMIT_BYTES}"
    (length,) = struct.unpack("<Q", content[:8])
    tensors = json.loads(content[8 : 8 + length])
    tensors.pop("__metadata__", None)
    assert {tensor["dtype"] for tensor in tensors.values()} == {"BF16"}
    size = sum(2 * math.prod(tensor["shape"]) for tensor in tensors.values())
    assert size == len(content) - 8 - length
    assert tensors["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
    layers = {name.split(".")[2] for name in tensors if name.startswith("model.layers.")}
    assert len(layers) == config["num_hidden_layers"]


def check_tokenizer(config: dict) -> None:
    tokenizer, settings = read("tokenizer.json"), read("tokenizer_config.json")
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    assert ids[settings["eos_token"]] == config["eos_token_id"]
    assert config["eos_token_id"] in read("generation_config.json")["eos_token_id"]
    assert max(tokenizer["model"]["vocab"].values()) < config["vocab_size"]
    assert "<|im_start|>assistant" in settings["chat_template"]


config = read("config.json")
check_weights(config)
check_tokenizer(config)
print(f"{FOLDER}: the model's files fit together")
