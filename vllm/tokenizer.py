"""The model's tokenizer, over the `tokenizers` library; transformers is not needed."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from vllm.chat_template import read_chat_templates, render, select_template
from vllm.exceptions import ModelError
from vllm.hf_config import read_json
from vllm.tokenizer_options import TEMPLATE_OPTIONS, check_options, set_bos_token

_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
_NO_MAX_LENGTH = int(1e30)  # as in transformers


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
        name_or_path: what the program named, else the folder.
        init_kwargs: tokenizer_config.json's content.
        model_max_length: what tokenizer_config.json says; a huge number where it does not.

    Raises ModelError naming the file that is missing or damaged. Methods have the names and the defaults that they have
    in transformers.
    """

    is_fast = True

    def __init__(self, folder: Path, name: str | None = None, add_bos_token: bool | None = None):
        """`add_bos_token`: whether special tokens include it; None: as tokenizer.json says."""
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
        self.init_kwargs = config
        self.name_or_path = name or str(folder)
        self.model_max_length = int(config.get("model_max_length") or _NO_MAX_LENGTH)
        self.special_tokens = _special_tokens(folder, config)
        if add_bos_token is not None:
            set_bos_token(self._backend, self.bos_token, add_bos_token)
        self.chat_templates = read_chat_templates(folder, config)
        added = self._backend.get_added_tokens_decoder()
        self.all_special_ids = sorted(i for i, token in added.items() if token.special)

    def __call__(
        self,
        text: str | list[str],
        add_special_tokens: bool = True,
        return_attention_mask: bool | None = None,
        **options: Any,
    ) -> TokenizedText:
        """Token ids of a text, or lists of them for several; nothing is cut off or filled up.

        `options`: see vllm/tokenizer_options.py. Raises NotOfferedError for those that ask for something.
        """
        check_options(options)
        ids = self.encode_batch([text] if isinstance(text, str) else text, add_special_tokens)
        return _tokenized(ids[0] if isinstance(text, str) else ids, return_attention_mask is not False)

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

    @property
    def pad_token_id(self) -> int | None:
        return self._special_id("pad_token")

    @pad_token_id.setter
    def pad_token_id(self, token_id: int | None) -> None:
        self.pad_token = None if token_id is None else self._backend.id_to_token(token_id)

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
    def unk_token(self) -> str | None:
        return self.special_tokens.get("unk_token")

    @property
    def pad_token(self) -> str | None:
        return self.special_tokens.get("pad_token")

    @pad_token.setter
    def pad_token(self, token: str | None) -> None:
        """Chat templates that write it see the new one; nothing here is padded."""
        if token is None:
            self.special_tokens.pop("pad_token", None)
        else:
            self.special_tokens["pad_token"] = token

    @property
    def chat_template(self) -> str | None:
        return self.chat_templates.get("default")

    @chat_template.setter
    def chat_template(self, template: str | None) -> None:
        if template is None:
            self.chat_templates.pop("default", None)
        else:
            self.chat_templates["default"] = template

    def get_chat_template(self, chat_template: str | None = None, tools: list[dict] | None = None) -> str:
        """The template that a conversation is rendered with; VLLMValidationError where there is none."""
        return select_template(self.chat_templates, chat_template, bool(tools))

    def get_vocab(self) -> dict[str, int]:
        return self._backend.get_vocab(with_added_tokens=True)

    def tokenize(self, text: str, add_special_tokens: bool = False, **options: Any) -> list[str]:
        """Tokens as the vocabulary spells them."""
        check_options(options)
        return self._backend.encode(text, add_special_tokens=add_special_tokens).tokens

    def encode(self, text: str, add_special_tokens: bool = True, **options: Any) -> list[int]:
        check_options(options)
        return self.encode_batch([text], add_special_tokens)[0]  # which lets other threads of Python run meanwhile

    def encode_batch(self, texts: list[str], add_special_tokens: bool = True) -> list[list[int]]:
        """Many texts on all cores."""
        return [e.ids for e in self._backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)]

    def decode(self, token_ids: Sequence[int] | int, skip_special_tokens: bool = False, **options: Any) -> str:
        check_options(options)
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def batch_decode(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        return [self.decode(token_ids, skip_special_tokens, **options) for token_ids in sequences]

    def convert_ids_to_tokens(
        self, token_ids: Sequence[int] | int, skip_special_tokens: bool = False
    ) -> list[str] | str:
        """Tokens as the vocabulary spells them; "" for ids without one (padding of the embedding table)."""
        if isinstance(token_ids, int):
            return self._backend.id_to_token(token_ids) or ""
        left_out = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._backend.id_to_token(i) or "" for i in token_ids if i not in left_out]

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
            self.get_chat_template(chat_template, tools),
            messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            content_format=content_format,
            variables={**self.special_tokens, "tools": tools or None, "documents": None, **template_arguments},
        )

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]] | list[list[dict[str, Any]]],
        tools: list[dict] | None = None,
        documents: list[dict[str, str]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        return_dict: bool = False,
        **arguments: Any,
    ) -> str | list[int] | list[str] | list[list[int]] | TokenizedText:
        """Token ids, or with tokenize=False the text; a list of these for a list of conversations.

        `return_dict`: token ids as calling a tokenizer gives them; not unless asked for, as in transformers before 5.
        `arguments`: variables of the template, and options of tokenizing as calling a tokenizer takes them.
        """
        check_options({name: arguments.pop(name) for name in TEMPLATE_OPTIONS & arguments.keys()})
        several = len(conversation) > 0 and isinstance(conversation[0], list | tuple)
        texts = [
            self.render_chat_template(
                each,
                chat_template=chat_template,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                tools=tools,
                documents=documents,
                **arguments,
            )
            for each in (conversation if several else [conversation])
        ]
        if not tokenize:
            return texts if several else texts[0]
        ids = self.encode_batch(texts, add_special_tokens=False)
        made = ids if several else ids[0]
        return _tokenized(made, with_mask=True) if return_dict else made

    def _special_id(self, name: str) -> int | None:
        token = self.special_tokens.get(name)
        return None if token is None else self._backend.token_to_id(token)


def _tokenized(ids: list[int] | list[list[int]], with_mask: bool) -> TokenizedText:
    """Of one text or of several; the mask is 1 everywhere."""
    made = TokenizedText(input_ids=ids)
    if with_mask:
        several = bool(ids) and isinstance(ids[0], list)
        made["attention_mask"] = [[1] * len(each) for each in ids] if several else [1] * len(ids)
    return made


def _special_tokens(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """From tokenizer_config.json, else special_tokens_map.json; values are text or {"content": text}."""
    mapping = folder / "special_tokens_map.json"
    values = (read_json(mapping) if mapping.exists() else {}) | {k: v for k, v in config.items() if v is not None}
    tokens = {name: values.get(name) for name in _SPECIAL_NAMES}
    texts = {name: t.get("content") if isinstance(t, dict) else t for name, t in tokens.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}
