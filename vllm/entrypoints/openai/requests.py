"""What clients send. Types are strict, as OpenAI's are; ranges are checked by SamplingParams."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vllm.entrypoints.openai.field_types import Int64, Prompt, Stop, TemplateArguments, ZeroIfNull
from vllm.entrypoints.openai.fields import chat_rules, completion_rules, plain_rules
from vllm.entrypoints.openai.request_headers import MAX_ID_LENGTH
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import RequestOutputKind, SamplingParams

# Fields that are SamplingParams' own, under their names there.
_SAMPLING_FIELDS = """n temperature top_p top_k min_p presence_penalty frequency_penalty repetition_penalty seed stop
    stop_token_ids include_stop_str_in_output ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens
    logit_bias allowed_token_ids bad_words prompt_logprobs""".split()
_ENDS = {"add_generation_prompt", "continue_final_message"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class StreamOptions(_Body):
    """`continuous_usage_stats`: usage in every event, not only in the last."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None  # OpenAI's padding against traffic analysis: without effect


class GenerationRequest(_Body):
    """The fields that both kinds of completion share; null means the default."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = 1
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: Int64 | None = None
    stop: Stop = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    logit_bias: dict[str, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = Field(default_factory=list)
    prompt_logprobs: int | None = None
    truncate_prompt_tokens: int | None = Field(default=None, ge=-1)
    truncation_side: Literal["left", "right"] | None = None
    add_special_tokens: bool | None = None
    priority: int = 0
    request_id: str | None = Field(default=None, min_length=1, max_length=MAX_ID_LENGTH)
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None

    @model_validator(mode="after")
    def _check_stream_options(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is accepted with stream=true alone")
        return self

    def _sampling_values(self, max_tokens: int | None, defaults: dict[str, Any]) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in _SAMPLING_FIELDS}
        values = defaults | {k: v for k, v in given.items() if v is not None}
        if also := defaults.get("stop_token_ids"):  # the model's own stay beside the request's
            values["stop_token_ids"] = list(dict.fromkeys([*(self.stop_token_ids or []), *also]))
        kind = RequestOutputKind.DELTA if self.stream else RequestOutputKind.FINAL_ONLY
        return values | {"max_tokens": max_tokens, "output_kind": kind}


class CompletionRequest(GenerationRequest):
    """POST /v1/completions."""

    prompt: Prompt
    max_tokens: int | None = 16
    echo: bool | None = None
    logprobs: int | None = None
    max_completion_tokens: int | None = None

    @model_validator(mode="after")
    def _take_chats_name_for_max_tokens(self) -> Self:
        """Programs that measure servers send both names to either kind of completion."""
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        return self

    @property
    def is_echo_only(self) -> bool:
        """`echo` with max_tokens 0 asks for the prompt's log probabilities; the one token this takes is not shown."""
        return bool(self.echo) and self.max_tokens == 0

    def to_sampling_params(
        self, max_tokens: int | None, default_sampling_params: dict[str, Any] | None = None
    ) -> SamplingParams:
        """`default_sampling_params`: SamplingParams fields that the model's generation config sets."""
        values = self._sampling_values(1 if self.is_echo_only else max_tokens, default_sampling_params or {})
        if self.logprobs is not None:
            values["logprobs"] = self.logprobs
            if self.echo:
                values["prompt_logprobs"] = self.logprobs
        return SamplingParams(**values)


class _Rendering(_Body):
    """How a conversation becomes a prompt."""

    chat_template: str | None = None
    chat_template_kwargs: TemplateArguments | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        """What is there by default gives way."""
        if self.continue_final_message and self.add_generation_prompt and self.model_fields_set >= _ENDS:
            raise ValueError("continue_final_message and add_generation_prompt exclude each other: give one of them")
        return self


class ChatCompletionRequest(GenerationRequest, _Rendering):
    """POST /v1/chat/completions."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: ZeroIfNull = 0
    echo: bool | None = None

    @property
    def max_answer_tokens(self) -> int | None:
        """By the newer of the two names for it, if both are given."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def to_sampling_params(
        self, max_tokens: int | None, default_sampling_params: dict[str, Any] | None = None
    ) -> SamplingParams:
        """As CompletionRequest's; without max_tokens an answer may fill max_model_len."""
        values = self._sampling_values(max_tokens, default_sampling_params or {})
        if self.logprobs:
            values["logprobs"] = self.top_logprobs
        elif self.top_logprobs:
            raise VLLMValidationError("top_logprobs needs logprobs: true", "top_logprobs")
        return SamplingParams(**values)


class TokenizeRequest(_Rendering):
    """POST /tokenize: a prompt, or the messages of a chat."""

    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    tools: list[dict[str, Any]] | None = None  # as the template shows them
    add_special_tokens: bool | None = None  # default: true for a prompt, false for a chat, as for completions
    return_token_strs: bool | None = None


class DetokenizeRequest(_Body):
    """POST /detokenize."""

    model: str | None = None
    tokens: list[int]


COMPLETION_RULES = completion_rules(CompletionRequest.model_fields)
CHAT_RULES = chat_rules(ChatCompletionRequest.model_fields)
TOKENIZE_RULES = plain_rules(TokenizeRequest.model_fields)
DETOKENIZE_RULES = plain_rules(DetokenizeRequest.model_fields)
