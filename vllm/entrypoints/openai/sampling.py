"""From a request's fields to sampling parameters."""

from typing import Any

from vllm.engine.input_processor import ProcessedInput
from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.requests import ChatCompletionRequest, CompletionRequest, GenerationRequest
from vllm.sampling_params import RequestOutputKind, SamplingParams

# Enough for every batch that clients send (OpenAI takes n up to 128), too little to fill the server's memory.
MAX_SEQUENCES = 2048
DEFAULT_COMPLETION_TOKENS = 16

_SHARED_FIELDS = """n temperature top_p top_k min_p presence_penalty frequency_penalty repetition_penalty seed stop
    stop_token_ids include_stop_str_in_output ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens
    logit_bias allowed_token_ids bad_words prompt_logprobs""".split()


def completion_params(request: CompletionRequest, defaults: dict[str, Any]) -> SamplingParams:
    """`defaults`: SamplingParams fields that the model's generation config sets."""
    values = _shared_values(request, defaults)
    values.setdefault("max_tokens", DEFAULT_COMPLETION_TOKENS)
    if request.max_tokens is not None:
        values["max_tokens"] = request.max_tokens
    if is_echo_only(request):
        values["max_tokens"] = 1
    if request.logprobs is not None:
        values["logprobs"] = request.logprobs
        if request.echo:
            values["prompt_logprobs"] = request.logprobs
    return SamplingParams(**values)


def chat_params(request: ChatCompletionRequest, defaults: dict[str, Any]) -> SamplingParams:
    """As completion_params; without max_tokens an answer may fill max_model_len."""
    values = _shared_values(request, defaults)
    values.setdefault("max_tokens", None)
    if (given := chat_max_tokens(request)) is not None:
        values["max_tokens"] = given
    if request.logprobs:
        values["logprobs"] = request.top_logprobs or 0
    elif request.top_logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    return SamplingParams(**values)


def chat_max_tokens(request: ChatCompletionRequest) -> int | None:
    return request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens


def is_echo_only(request: CompletionRequest) -> bool:
    """`echo` with max_tokens 0 asks for the prompt's log probabilities; the one token that it takes is not shown."""
    return bool(request.echo) and request.max_tokens == 0


def check_room(request: ProcessedInput, max_tokens: int | None, max_model_len: int) -> None:
    """Refuses an explicit max_tokens that cannot be reached."""
    used = len(request.prompt_token_ids)
    room = max_model_len - used
    if max_tokens is not None and max_tokens > room:
        raise ApiError(
            400,
            f"max_tokens={max_tokens} is not accepted: this model's maximum context length is {max_model_len} tokens "
            f"(max_model_len) and the prompt has {used}, which leaves {room}; give at most that",
            param="max_tokens",
            code="context_length_exceeded",
        )


def check_sequences(prompts: int, n: int) -> None:
    if prompts * n > MAX_SEQUENCES:
        raise ApiError(
            400, f"{prompts} prompts with n={n} are {prompts * n} answers; at most {MAX_SEQUENCES} a request", param="n"
        )


def _shared_values(request: GenerationRequest, defaults: dict[str, Any]) -> dict[str, Any]:
    given = {name: getattr(request, name) for name in _SHARED_FIELDS}
    kind = RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY
    return defaults | {k: v for k, v in given.items() if v is not None} | {"output_kind": kind}
