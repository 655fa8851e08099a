"""The forms that a prompt may have."""

from typing import TypedDict


class TextPrompt(TypedDict):
    """A prompt as text, to be tokenized with the model's own special tokens."""

    prompt: str


class TokensPrompt(TypedDict):
    """A prompt as token ids, taken as they are."""

    prompt_token_ids: list[int]


PromptType = str | list[int] | TextPrompt | TokensPrompt
