"""Options of transformers' tokenizers: those that ask for nothing are accepted, all others are refused by name."""

from collections.abc import Mapping
from typing import Any

import tokenizers

from vllm.exceptions import NotOfferedError

# Nothing is cut off or filled up, and lists of Python's integers are what comes back.
_TOKENIZING = {
    "padding": (False, "do_not_pad"),
    "truncation": (False, None, "do_not_truncate"),
    "max_length": (None,),
    "return_tensors": (None,),
    "return_assistant_tokens_mask": (False,),
    "tokenizer_kwargs": (None, {}),
}
TEMPLATE_OPTIONS = frozenset(_TOKENIZING)
"""Names that apply_chat_template takes for tokenizing, which are no variables of a template."""
_ACCEPTED = _TOKENIZING | {
    "text_pair": (None,),
    "stride": (0,),
    "is_split_into_words": (False,),
    "pad_to_multiple_of": (None,),
    "padding_side": (None, "left", "right"),
    "return_token_type_ids": (None, False),
    "return_overflowing_tokens": (False,),
    "return_special_tokens_mask": (False,),
    "return_offsets_mapping": (False,),
    "return_length": (False,),
    "verbose": (True, False),
    "clean_up_tokenization_spaces": (None, False),
}


def check_options(options: dict[str, Any]) -> None:
    """Raises NotOfferedError for the first option that asks for something."""
    for name, value in options.items():
        accepted = _ACCEPTED.get(name, ())
        if value not in accepted:
            known = f" or give {' or '.join(map(repr, accepted))}" if accepted else ""
            raise NotOfferedError(f"the tokenizer's {name}={value!r} is not offered: leave it out{known}", name)


def adds_special_tokens(tokenization_kwargs: Mapping[str, Any] | None, unless_said: bool = True) -> bool:
    """What a request's options of tokenizing say of special tokens. Raises as check_options for all others."""
    options = dict(tokenization_kwargs or {})
    wanted = options.pop("add_special_tokens", unless_said)
    check_options(options)
    return bool(wanted)


def set_bos_token(backend: tokenizers.Tokenizer, bos_token: str | None, wanted: bool) -> None:
    """Has the tokenizer begin texts with `bos_token`, where special tokens are added, or not.

    Raises NotOfferedError where it adds other special tokens, which would be lost.
    """
    added = backend.encode("", add_special_tokens=True).tokens
    if bos_token is None or (bos_token in added) == wanted:
        return
    if set(added) - {bos_token}:
        others = ", ".join(sorted(set(added) - {bos_token}))
        raise NotOfferedError(
            f"the tokenizer's add_bos_token={wanted} is not offered, it also adds {others}: leave it out",
            "add_bos_token",
        )
    token_id = backend.token_to_id(bos_token)
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=[bos_token, "$A"] if wanted else ["$A"], special_tokens=[(bos_token, token_id)]
    )
