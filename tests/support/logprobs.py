"""What an engine makes of a prompt, as numbers to compare."""

import torch

from vllm import LLM, SamplingParams


def prompt_logprobs(llm: LLM, length: int) -> torch.Tensor:
    """f32 [length - 1]: log probabilities of the tokens after the first of a prompt with ids 3, 4, 5, ..."""
    prompt = {"prompt_token_ids": list(range(3, 3 + length))}
    output = llm.generate([prompt], SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)[0]
    entries = zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
    return torch.tensor([entry[token].logprob for token, entry in entries])
