"""What request handlers share."""

import time
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from vllm.chat_template import RESERVED_ARGUMENTS, read_chat_template
from vllm.engine.async_llm import AsyncLLM
from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.settings import ServerSettings
from vllm.exceptions import VLLMValidationError
from vllm.generation_config import default_sampling_values, max_tokens_limit
from vllm.tokenizer import Tokenizer


@dataclass
class ServerState:
    """One served model.

    Attributes:
        chat_template: text that replaces the model's own template, or None.
        sampling_defaults: SamplingParams fields from the model's generation config.
        max_tokens_limit: what whoever started the server allows an answer, or None.
        num_open_requests: HTTP requests being answered, as /load reports them.
    """

    llm: AsyncLLM
    settings: ServerSettings
    chat_template: str | None = None
    sampling_defaults: dict[str, Any] = field(default_factory=dict)
    max_tokens_limit: int | None = None
    num_open_requests: int = 0
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def build(cls, llm: AsyncLLM, settings: ServerSettings) -> "ServerState":
        """Raises VLLMValidationError for a chat template that cannot be read, or arguments that are none of its."""
        if wrong := sorted(RESERVED_ARGUMENTS & settings.default_chat_template_kwargs.keys()):
            raise VLLMValidationError(f"--default-chat-template-kwargs: {wrong[0]} is not an argument of the template")
        return cls(
            llm=llm,
            settings=settings,
            chat_template=read_chat_template(settings.chat_template),
            sampling_defaults=default_sampling_values(llm.config.model_config),
            max_tokens_limit=max_tokens_limit(llm.config.model_config),
        )

    @property
    def model_names(self) -> list[str]:
        return self.llm.config.model_config.served_model_name

    @property
    def max_model_len(self) -> int:
        return self.llm.config.model_config.max_model_len

    def check_model(self, name: str | None) -> None:
        """Raises ApiError 404 for a model that is not served; none given means the one that is."""
        if name is not None and name not in self.model_names:
            served = ", ".join(self.model_names)
            raise ApiError(
                404,
                f"the model {name[:200]!r} is not served here; served is {served}",
                param="model",
                code="model_not_found",
            )

    def tokenizer(self) -> Tokenizer:
        if self.llm.tokenizer is None:
            raise ApiError(400, "the server runs without a tokenizer (--skip-tokenizer-init): give token ids")
        return self.llm.tokenizer


def state_of(request: Request) -> ServerState:
    return request.app.state.server
