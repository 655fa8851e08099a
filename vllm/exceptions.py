"""Errors a caller can act on. Every message is one line: what was given, what is accepted, what to do."""

from typing import Any


class VLLMError(Exception):
    """What programs for upstream catch: of one of the two kinds below."""


class VLLMClientError(VLLMError):
    """What was asked for is at fault."""


class VLLMServerError(VLLMError):
    """The engine is at fault."""


class VLLMValidationError(VLLMClientError, ValueError):
    """A request, a flag or a field that is refused before any work is done.

    `parameter` names the offending field, as OpenAI's error object reports it in `param`; `value` is for programs that
    raise it themselves, here messages hold what was given.
    """

    def __init__(self, message: str, parameter: str | None = None, value: Any = None):
        super().__init__(message)
        self.parameter = parameter
        self.value = value


class NotOfferedError(VLLMValidationError):
    """A field or a flag of vLLM's interface that this version does not offer."""


class EmptyPromptError(VLLMValidationError):
    """A prompt without any token."""

    def __init__(self) -> None:
        super().__init__("the decoder prompt cannot be empty: give at least one token", "prompt")


class PromptTooLongError(VLLMValidationError):
    """A prompt that leaves no room for a generated token within max_model_len or the KV cache.

    Clients look for "this model's maximum context length is" or "Please reduce the length", which OpenAI's message has,
    to know this error.
    """

    def __init__(self, prompt_tokens: int, limit: int, limit_name: str = "max_model_len", advice: str = ""):
        advice = advice or "raise max_model_len"
        super().__init__(
            f"this model's maximum context length is {limit} tokens ({limit_name}), but the prompt has {prompt_tokens} "
            f"and one is needed for the answer: at most {max(limit - 1, 0)} are accepted. "
            f"Please reduce the length of the prompt or {advice}",
            "prompt",
        )


class TokenOutOfVocabularyError(VLLMValidationError):
    """A token id that the model's embedding table does not have."""

    def __init__(self, token_id: int, vocab_size: int, parameter: str = "prompt_token_ids"):
        message = (
            f"{parameter} holds {token_id}, which, with {vocab_size} tokens, is out of vocabulary: "
            f"give ids from 0 to {vocab_size - 1}"
        )
        super().__init__(message, parameter)


class ModelError(ValueError):
    """A model folder that is missing, damaged or not supported; the message names the file."""


class EngineDeadError(VLLMServerError, RuntimeError):
    """The engine process ended; the message says why."""
