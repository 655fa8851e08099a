"""Upstream's name for where tokenizers come from."""

from pathlib import Path
from typing import Any

from vllm.exceptions import NotOfferedError
from vllm.model_path import resolve_model
from vllm.tokenizer import Tokenizer

__all__ = ["Tokenizer", "get_tokenizer"]

# Upstream's arguments, and the values that ask for what there is: a Tokenizer, which never runs a model's code.
_ACCEPTED = {"tokenizer_mode": ("auto", "hf"), "trust_remote_code": (False, True), "use_fast": (True,)}


def get_tokenizer(
    tokenizer_name: str | Path,
    *,
    revision: str | None = None,
    download_dir: str | None = None,
    **others: Any,
) -> Tokenizer:
    """The tokenizer of a folder, an installed model or a Hugging Face name, which is downloaded.

    Raises ModelError where there is none, NotOfferedError for arguments that ask for another kind.
    """
    for name, value in others.items():
        if value not in _ACCEPTED.get(name, (None,)):
            raise NotOfferedError(f"get_tokenizer's {name}={value!r} is not offered: leave it out", name)
    return Tokenizer(resolve_model(str(tokenizer_name), revision=revision, download_dir=download_dir))
