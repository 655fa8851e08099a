"""Text of a growing token sequence."""

from vllm.tokenizer import Tokenizer

# Prompt tokens decoded together with the first new ones: decoders treat the start of a text specially.
_CONTEXT_TOKENS = 6
# Where that begins inside a character, which has up to four tokens; shorter ones for prompts with broken characters.
_OTHER_CONTEXTS = (7, 8, 9, 5, 4, 3, 2, 1)
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
        self._ids = self._context(prompt_token_ids)
        self._start = 0
        self._shown = len(self._ids)
        self._shown_text = self._decode(self._ids, self._skip_special)

    def _context(self, prompt: list[int]) -> list[int]:
        """The last prompt tokens, from the start of a character on.

        Decoders with byte fallback take tokens of single bytes that follow one another as one text: where it begins
        inside a character, or a byte of it is wrong, all of it is U+FFFD.
        """
        usual = prompt[-_CONTEXT_TOKENS:]
        if not self._broken(usual):
            return usual
        return min([usual, *(prompt[-count:] for count in _OTHER_CONTEXTS)], key=self._broken)

    def _broken(self, ids: list[int]) -> int:
        return self._decode(ids, self._skip_special).count(_REPLACEMENT)

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
