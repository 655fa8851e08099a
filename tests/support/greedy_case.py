"""A tiny model in float32, prompts, and what transformers answers: the engine's greedy tokens must be the same."""

from pathlib import Path
from typing import Any

from support.models import mixed_prompts, reference_greedy, save_model
from vllm import LLM, SamplingParams


class GreedyCase:
    """A saved model of a kind, `count` prompts, and `num_tokens` of the answer to each.

    `engine_arguments` are those of every engine, unless a test gives its own.
    """

    def __init__(self, kind: str, folder: Path, count: int = 16, num_tokens: int = 64, **engine_arguments: Any):
        self.folder = save_model(kind, folder)
        self.prompts = mixed_prompts(count)
        self.expected = reference_greedy(self.folder, self.prompts, num_tokens)
        self._params = SamplingParams(temperature=0, max_tokens=num_tokens, ignore_eos=True)
        self.block_size = 8
        self._arguments = {"dtype": "float32", "max_model_len": 256, "block_size": self.block_size, **engine_arguments}

    def llm(self, **arguments: Any) -> LLM:
        return LLM(str(self.folder), **{**self._arguments, **arguments})

    def answers(self, llm: LLM, prompts: list[list[int]] | None = None) -> list[list[int]]:
        prompts = self.prompts if prompts is None else prompts
        outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], self._params, use_tqdm=False)
        return [list(o.outputs[0].token_ids) for o in outputs]
