"""The model's tokenizer: `tokenizers` for text, jinja2 for chat templates; transformers is not needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Tokenizer:
    """Reads tokenizer.json, tokenizer_config.json and chat_template.jinja of a folder.

    Attributes: eos_token_id, bos_token_id, pad_token_id (int | None), all_special_ids (list[int]),
    vocab_size (ids including added tokens), chat_templates ({name: template}).
    """

    def __init__(self, folder: Path): ...

    def __len__(self) -> int: ...

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: Sequence[int] | int, skip_special_tokens: bool = False) -> str: ...

    def convert_ids_to_tokens(self, token_ids: Sequence[int]) -> list[str]: ...

    def convert_tokens_to_ids(self, tokens: Sequence[str] | str) -> list[int] | int | None: ...

    def render_chat_template(
        self,
        messages: list[dict[str, Any]],
        *,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: list[dict] | None = None,
        **template_arguments: Any,
    ) -> str:
        """The prompt text of a conversation. `chat_template`: template text, or the name of one that the model has.

        Tokenize the result with add_special_tokens=False: templates write their own special tokens.
        Raises VLLMValidationError where there is no template, where it has an error, and with its message
        where it calls raise_exception.
        """

    def apply_chat_template(self, conversation: list[dict[str, Any]], tokenize: bool = True, **arguments: Any):
        """As transformers does: token ids, or the text with tokenize=False."""


class IncrementalDetokenizer:
    """Text of a growing token sequence; never gives out half of a UTF-8 character."""

    def __init__(self, tokenizer: Tokenizer, prompt_token_ids: list[int], skip_special_tokens: bool): ...

    def append(self, token_id: int) -> str:
        """The text that this token completes, perhaps empty."""

    def flush(self) -> str:
        """What is left when no more tokens come (bytes that never became a character show as U+FFFD)."""
