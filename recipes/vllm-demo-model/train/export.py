"""Write the model folder from a training run: bf16 weights, configuration, tokenizer and chat template.

python export.py --work WORK [--out recipes/vllm-demo-model/model]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from network import Llama, Shape
from safetensors.torch import save_file
from tokenizer import END_OF_TEXT, SPECIAL, TURN_END, TURN_START
from tokenizers import Tokenizer

MODEL = Path(__file__).parent.parent / "model"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ '{TURN_START}' + message['role'] + '\\n' + (message['content'] | trim) + '{TURN_END}\\n' }}}}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{{{{ '{TURN_START}assistant\\n' }}}}{{% endif %}}"
)


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def tokenizer_config(tokenizer: Tokenizer, length: int) -> dict:
    """Return the content of tokenizer_config.json."""
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token in SPECIAL
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "bos_token": None,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": added,
        "chat_template": CHAT_TEMPLATE,
    }


def weights(network: Llama) -> dict[str, torch.Tensor]:
    return {name: weight.to(torch.bfloat16).contiguous() for name, weight in network.state_dict().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--out", type=Path, default=MODEL, help="model folder to write")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    shape = Shape()
    network = Llama(shape)
    network.load_state_dict(torch.load(args.work / "checkpoint.pt")["network"])
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    turn_end, end_of_text = tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END_OF_TEXT)

    save_file(weights(network), args.out / "model.safetensors", metadata={"format": "pt"})
    (args.out / "model.safetensors").chmod(0o644)
    shutil.copyfile(args.work / "tokenizer.json", args.out / "tokenizer.json")
    write_json(args.out / "tokenizer_config.json", tokenizer_config(tokenizer, shape.max_position_embeddings))
    write_json(args.out / "config.json", shape.hf_config(turn_end, end_of_text))
    stops = {"eos_token_id": [turn_end, end_of_text], "pad_token_id": end_of_text}
    write_json(args.out / "generation_config.json", {"do_sample": False, "temperature": 0.0, **stops})
    print(f"{args.out}: {(args.out / 'model.safetensors').stat().st_size / 1e6:.2f} MB of weights")


if __name__ == "__main__":
    main()
