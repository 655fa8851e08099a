"""Chat templates as programs for upstream get them; older versions of it have these functions under this name."""

from pathlib import Path
from typing import Any

from vllm.chat_template import read_chat_template
from vllm.config import ModelConfig
from vllm.tokenizer import Tokenizer


def load_chat_template(chat_template: str | Path | None, *, is_literal: bool = False) -> str | None:
    """A file's content, or the template that was given; with `is_literal` it is never a file's name.

    Raises VLLMValidationError for what is neither.
    """
    return chat_template if is_literal else read_chat_template(chat_template)


def resolve_chat_template(
    tokenizer: Tokenizer,
    chat_template: str | None,
    tools: list[dict[str, Any]] | None,
    *,
    model_config: ModelConfig | None = None,
    trust_remote_code: bool | None = None,
) -> str | None:
    """The template that conversations are rendered with; None where the model has none and none is given.

    `model_config` and `trust_remote_code` have no effect: a tokenizer knows its templates, and no code is run.
    """
    if chat_template is None and not tokenizer.chat_templates:
        return None
    return tokenizer.get_chat_template(chat_template, tools)


resolve_hf_chat_template = resolve_chat_template
