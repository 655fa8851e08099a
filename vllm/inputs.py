"""The forms that a prompt may have."""

from collections.abc import Mapping
from typing import Any, TypedDict

from vllm.not_offered import refuse_given


class TextPrompt(TypedDict):
    """A prompt as text, to be tokenized with the model's own special tokens."""

    prompt: str


class TokensPrompt(TypedDict):
    """A prompt as token ids, taken as they are."""

    prompt_token_ids: list[int]


PromptType = str | list[int] | TextPrompt | TokensPrompt

# Upstream's other keys of prompts: what models of text have no use for, and what the engine does not do.
_NOT_OFFERED_KEYS = (
    "multi_modal_data",
    "multi_modal_uuids",
    "mm_processor_kwargs",
    "media_io_kwargs",
    "encoder_prompt",
    "decoder_prompt",
    "prompt_embeds",
    "token_type_ids",
    "cache_salt",
)


def refuse_what_is_not_offered(prompt: Mapping[str, Any]) -> None:
    """Raises NotOfferedError for a key of upstream's prompts that asks for something; other keys are the program's."""
    refuse_given(**{name: prompt.get(name) for name in _NOT_OFFERED_KEYS})
