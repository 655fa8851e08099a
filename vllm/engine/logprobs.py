"""From the core's log probabilities to what users read: with each token's text."""

from collections.abc import Sequence

from vllm.logprobs import PromptLogprobs, SampleLogprobs, append_logprobs_for_next_position, create_prompt_logprobs
from vllm.messages import TokenLogprobs
from vllm.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"
# A character has up to four bytes, and a token holds at least one.
TOKENS_BEFORE = 3


def append_decoded(
    logprobs: SampleLogprobs | PromptLogprobs,
    entry: TokenLogprobs,
    tokenizer: Tokenizer | None,
    before: Sequence[int],
) -> None:
    """Adds a position; `before`: the tokens before it, of which the last TOKENS_BEFORE are read."""
    texts = [None if tokenizer is None else token_text(tokenizer, token, before) for token in entry.token_ids]
    append_logprobs_for_next_position(logprobs, entry.token_ids, entry.logprobs, texts, entry.rank, -1)


def decode_prompt_logprobs(
    entries: list[TokenLogprobs | None], tokenizer: Tokenizer | None, token_ids: list[int], flat: bool
) -> PromptLogprobs:
    """Of a prompt with these ids; its first token has no entry."""
    logprobs = create_prompt_logprobs(flat)
    for position, entry in enumerate(entries[1:], 1):
        assert entry is not None
        append_decoded(logprobs, entry, tokenizer, token_ids[max(position - TOKENS_BEFORE, 0) : position])
    return logprobs


def token_text(tokenizer: Tokenizer, token: int, before: Sequence[int]) -> str:
    """What a token adds to a text: where it ends inside a character nothing, where it completes one that character."""
    text = tokenizer.decode([token])
    if not text.endswith(_REPLACEMENT):
        return text
    for count in range(1, min(len(before), TOKENS_BEFORE) + 1):
        text = tokenizer.decode([*before[-count:], token])
        if not text.endswith(_REPLACEMENT):
            return text
    return ""
