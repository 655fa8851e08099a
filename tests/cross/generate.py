"""Prints the instruction set and greedy answers of a tiny model: python tests/cross/generate.py FOLDER."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.tiny_model import write_tiny_model


def main(folder: Path) -> None:
    from vllm import LLM, SamplingParams
    from vllm.kernels import cpu_isa

    llm = LLM(str(write_tiny_model(folder)), max_model_len=128)
    outputs = llm.generate(["the quick brown", "a served model"], SamplingParams(temperature=0.0, max_tokens=12))
    print(cpu_isa(), *(list(output.outputs[0].token_ids) for output in outputs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
