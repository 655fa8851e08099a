"""Text of a growing token sequence."""

from vllm.tokenizer import Tokenizer

# Prompt tokens decoded together with the first new ones: decoders treat the start of a text specially.
_CONTEXT_TOKENS = 6
# Byte tokens that have not become a character after this many tokens never will.
_MAX_HELD_TOKENS = 16
_REPLACEMENT = "\ufffd"


class IncrementalDetokenizer:
    """Gives out each piece of text once it is certain; never half of a UTF-8 character.

    Decoding one token at a time would lose spaces and split characters, so a short window is decoded anew for
    every token: tokens from `_start` on, of which those before `_shown` are already given out.
    """

    __slots__ = ("_decode", "_ids", "_shown", "_shown_text", "_skip_special", "_start")

    def __init__(self, tokenizer: Tokenizer, prompt_token_ids: list[int], skip_special_tokens: bool):
        self._decode = tokenizer.decode
        self._skip_special = skip_special_tokens
        self._ids = prompt_token_ids[-_CONTEXT_TOKENS:]
        self._start = 0
        self._shown = len(self._ids)
        self._shown_text = self._decode(self._ids, self._skip_special)

    def append(self, token_id: int) -> str:
        """The text that this token completes, perhaps empty."""
        self._ids.append(token_id)
        window = self._decode(self._ids[self._start :], self._skip_special)
        if len(self._ids) - self._shown < _MAX_HELD_TOKENS and (
            window.endswith(_REPLACEMENT) or len(window) <= len(self._shown_text)
        ):
            return ""
        return self._advance(window)

    def flush(self) -> str:
        """What is left when no more tokens come; bytes that never became a character show as U+FFFD."""
        window = self._decode(self._ids[self._start :], self._skip_special)
        return self._advance(window) if len(window) > len(self._shown_text) else ""

    def _advance(self, window: str) -> str:
        new_text = window[len(self._shown_text) :]
        self._start, self._shown = self._shown, len(self._ids)
        self._shown_text = self._decode(self._ids[self._start :], self._skip_special)
        return new_text
