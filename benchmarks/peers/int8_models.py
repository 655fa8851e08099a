"""Turns a folder of random_models.py into an int8 checkpoint (compressed-tensors, W8A8), which both vllms read.

    python int8_models.py MODEL_DIR OUT_DIR

Linear layers get 8-bit weights with a scale a row; inputs are quantised by token. Embeddings and head stay bf16.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_CODES = {"num_bits": 8, "type": "int", "symmetric": True}
QUANTIZATION = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {**_CODES, "strategy": "channel", "dynamic": False},
            "input_activations": {**_CODES, "strategy": "token", "dynamic": True},
        }
    },
}


def quantized(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    stored = {}
    for name, weight in weights.items():
        if not name.endswith("_proj.weight"):
            stored[name] = weight
            continue
        scale = weight.float().abs().amax(1, keepdim=True) / 127
        stored[name] = (weight.float() / scale).round().to(torch.int8)
        stored[f"{name}_scale"] = scale
    return stored


def main(source: Path, out: Path) -> None:
    half_written = out.with_suffix(".partial")
    shutil.rmtree(half_written, ignore_errors=True)
    shutil.copytree(source, half_written, ignore=shutil.ignore_patterns("*.safetensors"))
    save_file(quantized(load_file(source / "model.safetensors")), half_written / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    (half_written / "config.json").write_text(json.dumps(config | {"quantization_config": QUANTIZATION}, indent=1))
    os.replace(half_written, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
