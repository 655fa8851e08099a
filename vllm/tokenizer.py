"""The model's tokenizer, over the `tokenizers` library; transformers is not needed."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from vllm.chat_template import read_chat_templates, render, select_template
from vllm.exceptions import ModelError
from vllm.hf_config import read_json

_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


class TokenizedText(dict[str, Any]):
    """What calling a tokenizer gives: `input_ids` and `attention_mask`, as items and as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r}, only {', '.join(self)}") from None


class Tokenizer:
    """Reads tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat templates of a folder.

    Attributes:
        special_tokens: {"bos_token": "<s>", ...}, which chat templates read too.
        chat_templates: {"default": template, ...}; empty where the model has none.
        all_special_ids: ids that skip_special_tokens leaves out.

    Raises ModelError naming the file that is missing or damaged. Methods have the names and the defaults that they have
    in transformers.
    """

    is_fast = True

    def __init__(self, folder: Path):
        path = folder / "tokenizer.json"
        if not path.exists():
            raise ModelError(f"{path} does not exist: give a tokenizer folder that has one, or skip_tokenizer_init")
        try:
            self._backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{path} is damaged: {error}; download it again") from None
        self._backend.no_truncation()
        self._backend.no_padding()
        config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
        self.special_tokens = _special_tokens(folder, config)
        self.chat_templates = read_chat_templates(folder, config)
        added = self._backend.get_added_tokens_decoder()
        self.all_special_ids = sorted(i for i, token in added.items() if token.special)

    def __call__(self, text: str | list[str], add_special_tokens: bool = True) -> TokenizedText:
        """Token ids of a text, or lists of them for several; nothing is cut off or filled up."""
        ids = self.encode_batch([text] if isinstance(text, str) else text, add_special_tokens)
        masks = [[1] * len(each) for each in ids]
        if isinstance(text, str):
            return TokenizedText(input_ids=ids[0], attention_mask=masks[0])
        return TokenizedText(input_ids=ids, attention_mask=masks)

    def __len__(self) -> int:
        return self.vocab_size

    @cached_property
    def vocab_size(self) -> int:
        """How many ids there are, added tokens included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def bos_token_id(self) -> int | None:
        return self._special_id("bos_token")

    @cached_property
    def eos_token_id(self) -> int | None:
        return self._special_id("eos_token")

    @cached_property
    def pad_token_id(self) -> int | None:
        return self._special_id("pad_token")

    @cached_property
    def unk_token_id(self) -> int | None:
        return self._special_id("unk_token")

    @property
    def all_special_tokens(self) -> list[str]:
        return self.convert_ids_to_tokens(self.all_special_ids)

    @property
    def eos_token(self) -> str | None:
        return self.special_tokens.get("eos_token")

    @property
    def bos_token(self) -> str | None:
        return self.special_tokens.get("bos_token")

    @property
    def pad_token(self) -> str | None:
        return self.special_tokens.get("pad_token")

    @property
    def chat_template(self) -> str | None:
        return self.chat_templates.get("default")

    def get_vocab(self) -> dict[str, int]:
        return self._backend.get_vocab(with_added_tokens=True)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self.encode_batch([text], add_special_tokens)[0]  # which lets other threads of Python run meanwhile

    def encode_batch(self, texts: list[str], add_special_tokens: bool = True) -> list[list[int]]:
        """Many texts on all cores."""
        return [e.ids for e in self._backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)]

    def decode(self, token_ids: Sequence[int] | int, skip_special_tokens: bool = False) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def batch_decode(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        return [self.decode(token_ids, skip_special_tokens) for token_ids in sequences]

    def convert_ids_to_tokens(self, token_ids: Sequence[int]) -> list[str]:
        """Tokens as the vocabulary spells them; "" for ids without one (padding of the embedding table)."""
        return [self._backend.id_to_token(i) or "" for i in token_ids]

    def convert_tokens_to_ids(self, tokens: Sequence[str] | str) -> list[int | None] | int | None:
        if isinstance(tokens, str):
            return self._backend.token_to_id(tokens)
        return [self._backend.token_to_id(t) for t in tokens]

    def render_chat_template(
        self,
        messages: list[dict[str, Any]],
        *,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        content_format: str = "auto",
        tools: list[dict] | None = None,
        **template_arguments: Any,
    ) -> str:
        """The prompt text of a conversation. `chat_template`: template text, or the name of one that the model has.

        `content_format`: how the template gets content, one of chat_content.FORMATS.
        Tokenize the result with add_special_tokens=False: templates write their own special tokens.
        Raises VLLMValidationError where there is no template, where it has an error, and with its message
        where it calls raise_exception.
        """
        return render(
            select_template(self.chat_templates, chat_template, bool(tools)),
            messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            content_format=content_format,
            variables={**self.special_tokens, "tools": tools or None, "documents": None, **template_arguments},
        )

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]],
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        **arguments: Any,
    ) -> str | list[int]:
        """Token ids, or with tokenize=False the text."""
        text = self.render_chat_template(conversation, add_generation_prompt=add_generation_prompt, **arguments)
        return self.encode(text, add_special_tokens=False) if tokenize else text

    def _special_id(self, name: str) -> int | None:
        token = self.special_tokens.get(name)
        return None if token is None else self._backend.token_to_id(token)


def _special_tokens(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """From tokenizer_config.json, else special_tokens_map.json; values are text or {"content": text}."""
    mapping = folder / "special_tokens_map.json"
    values = (read_json(mapping) if mapping.exists() else {}) | {k: v for k, v in config.items() if v is not None}
    tokens = {name: values.get(name) for name in _SPECIAL_NAMES}
    texts = {name: t.get("content") if isinstance(t, dict) else t for name, t in tokens.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}
