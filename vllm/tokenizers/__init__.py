"""Upstream's name for where tokenizers come from."""

import functools
from pathlib import Path
from typing import Any

from vllm.config import ModelConfig
from vllm.exceptions import NotOfferedError
from vllm.model_path import resolve_model
from vllm.tokenizer import Tokenizer

__all__ = ["Tokenizer", "TokenizerLike", "cached_get_tokenizer", "cached_tokenizer_from_config", "get_tokenizer"]

TokenizerLike = Tokenizer

# Upstream's arguments, and the values that ask for what there is: a Tokenizer, which never runs a model's code.
_ACCEPTED = {
    "tokenizer_mode": ("auto", "hf"),
    "trust_remote_code": (False, True),
    "use_fast": (True,),
    "tokenizer_cls": (None, Tokenizer),
}


def get_tokenizer(
    tokenizer_name: str | Path,
    *,
    revision: str | None = None,
    download_dir: str | None = None,
    add_bos_token: bool | None = None,
    **others: Any,
) -> Tokenizer:
    """The tokenizer of a folder, an installed model or a Hugging Face name, which is downloaded.

    `add_bos_token`: as Tokenizer's. Raises ModelError where there is none, NotOfferedError for arguments that ask for
    another kind.
    """
    for name, value in others.items():
        if value not in _ACCEPTED.get(name, (None,)):
            raise NotOfferedError(f"get_tokenizer's {name}={value!r} is not offered: leave it out", name)
    folder = resolve_model(str(tokenizer_name), revision=revision, download_dir=download_dir)
    return Tokenizer(folder, str(tokenizer_name), add_bos_token)


cached_get_tokenizer = functools.lru_cache(get_tokenizer)


@functools.lru_cache
def _tokenizer_of(folder: Path, name: str | None) -> Tokenizer:
    return Tokenizer(folder, name)


def cached_tokenizer_from_config(model_config: ModelConfig) -> Tokenizer | None:
    """The tokenizer of an engine's model; None with skip_tokenizer_init."""
    if model_config.skip_tokenizer_init:
        return None
    return _tokenizer_of(model_config.tokenizer_folder, model_config.tokenizer)
