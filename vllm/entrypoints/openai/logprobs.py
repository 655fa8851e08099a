"""Log probabilities in the two forms that OpenAI's interfaces have."""

import math

from vllm.entrypoints.openai.responses import (
    ChatLogprobs,
    ChatTokenLogprob,
    CompletionLogprobs,
    PromptLogprob,
    PromptLogprobList,
    TopLogprob,
)
from vllm.logprobs import Logprob, PromptLogprobs, SampleLogprobs

# JSON has no infinity.
LOWEST_LOGPROB = -9999.0


class CompletionLogprobWriter:
    """Log probabilities of one answer for /v1/completions; keeps the text offset from event to event."""

    def __init__(self, as_token_ids: bool):
        self._as_token_ids = as_token_ids
        self._offset = 0

    def write(
        self, token_ids: list[int], logprobs: SampleLogprobs | PromptLogprobs, first_text: str = ""
    ) -> CompletionLogprobs:
        """`first_text`: the text of a token without log probabilities (the prompt's first)."""
        written = CompletionLogprobs([], [], [], [])
        for token_id, candidates in zip(token_ids, logprobs, strict=True):
            own = None if candidates is None else candidates[token_id]
            text = (own.decoded_token or "") if own else first_text
            written.text_offset.append(self._offset)
            written.tokens.append(f"token_id:{token_id}" if self._as_token_ids else text)
            written.token_logprobs.append(_finite(own.logprob) if own else None)
            written.top_logprobs.append(None if candidates is None else self._top(candidates))
            self._offset += len(text)
        return written

    def _top(self, candidates: dict[int, Logprob]) -> dict[str, float]:
        """By text; of tokens with the same text (halves of characters) the first, which is the chosen one, stays."""
        top: dict[str, float] = {}
        for token_id, candidate in candidates.items():
            top.setdefault(token_text(token_id, candidate, self._as_token_ids), _finite(candidate.logprob))
        return top


def join(first: CompletionLogprobs | None, second: CompletionLogprobs | None) -> CompletionLogprobs | None:
    if first is None or second is None:
        return first or second
    return CompletionLogprobs(
        first.text_offset + second.text_offset,
        first.token_logprobs + second.token_logprobs,
        first.tokens + second.tokens,
        first.top_logprobs + second.top_logprobs,
    )


def chat_logprobs(token_ids: list[int], logprobs: SampleLogprobs, num_top: int, as_token_ids: bool) -> ChatLogprobs:
    """For /v1/chat/completions: each token with its `num_top` most likely alternatives; -1: all."""
    content = []
    kept = None if num_top == -1 else num_top
    for token_id, candidates in zip(token_ids, logprobs, strict=True):
        own = candidates[token_id]
        ranked = sorted(candidates.items(), key=lambda item: item[1].rank or math.inf)
        text = token_text(token_id, own, as_token_ids)
        content.append(
            ChatTokenLogprob(
                token=text,
                logprob=_finite(own.logprob),
                bytes=_bytes(text),
                top_logprobs=[_top_logprob(token_text(i, c, as_token_ids), c) for i, c in ranked[:kept]],
            )
        )
    return ChatLogprobs(content)


def prompt_logprob_list(logprobs: PromptLogprobs) -> PromptLogprobList:
    """vLLM's `prompt_logprobs` field."""
    return [
        None
        if candidates is None
        else {i: PromptLogprob(_finite(c.logprob), c.rank, c.decoded_token) for i, c in candidates.items()}
        for candidates in logprobs
    ]


def token_text(token_id: int, logprob: Logprob, as_token_ids: bool) -> str:
    return f"token_id:{token_id}" if as_token_ids else (logprob.decoded_token or "")


def _top_logprob(text: str, candidate: Logprob) -> TopLogprob:
    return TopLogprob(text, _finite(candidate.logprob), _bytes(text))


def _bytes(text: str) -> list[int]:
    return list(text.encode("utf-8", errors="replace"))


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST_LOGPROB)
