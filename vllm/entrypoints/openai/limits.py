"""How much a request may ask for."""

from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.state import ServerState

# Enough for every batch that clients send (OpenAI takes n up to 128), too little to fill the server's memory.
MAX_SEQUENCES = 2048


def max_answer_tokens(given: int | None, state: ServerState, name: str = "max_tokens") -> int | None:
    """What the request gives, else what the model's generation config does, at most what the server allows.

    None: as many as max_model_len has room for, which bounds answers anyway: the number is a limit, nothing that the
    prompt must leave free. Raises ApiError for one that no prompt could leave room for.
    """
    if given is not None and given > state.max_model_len:
        raise ApiError(
            400,
            f"{name}={given} is not accepted: this model's maximum context length is {state.max_model_len} tokens "
            "(max_model_len); give at most that",
            param=name,
            code="context_length_exceeded",
        )
    wanted = state.sampling_defaults.get("max_tokens") if given is None else given
    limits = [limit for limit in (wanted, state.max_tokens_limit) if limit is not None]
    return min(limits, default=None)


def check_sequences(prompts: int, n: int) -> None:
    if prompts * n > MAX_SEQUENCES:
        raise ApiError(
            400, f"{prompts} prompts with n={n} are {prompts * n} answers; at most {MAX_SEQUENCES} a request", param="n"
        )
