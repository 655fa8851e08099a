"""Which of a step's tokens need logits."""

from vllm.scheduler.output import ScheduledStep


def wanted_rows(step: ScheduledStep) -> tuple[list[int], list[tuple[int, int]], list[int] | None]:
    """Which sequences sample, which want logprobs of how many prompt tokens, and the tokens that need logits.

    First one token of each sequence that samples, and as often the sequence, with the tokens of its draft after it;
    then those for prompt logprobs. None where that is every token in order.
    """
    sampling: list[int] = []
    prompts: list[tuple[int, int]] = []
    last_tokens: list[int] = []
    prompt_tokens: list[int] = []
    start = 0
    for index, (request, count) in enumerate(zip(step.requests, step.num_new_tokens, strict=True)):
        checked = len(request.draft)
        if request.num_computed_tokens + count == len(request.token_ids) + checked:
            sampling += [index] * (1 + checked)
            last_tokens += range(start + count - 1 - checked, start + count)
        if request.prompt_logprobs is not None:
            predicting = min(count, request.num_prompt_tokens - 1 - request.num_computed_tokens)
            if predicting > 0:
                prompts.append((index, predicting))
                prompt_tokens.extend(range(start, start + predicting))
        start += count
    if not prompts and len(last_tokens) == start:
        return sampling, prompts, None
    return sampling, prompts, last_tokens + prompt_tokens
