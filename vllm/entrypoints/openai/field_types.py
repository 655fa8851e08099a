"""Types of request fields that pydantic does not have."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from vllm.chat_template import RESERVED_ARGUMENTS


def _check_prompt(prompt: Any) -> Any:
    """A string, token ids, or a list of either."""
    if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and _is_batch(prompt)):
        return prompt
    raise ValueError("give a string, a list of strings, a list of token ids, or a list of lists of token ids")


def _is_batch(prompts: list) -> bool:
    return (
        all(isinstance(p, str) for p in prompts)
        or _are_token_ids(prompts)
        or all(isinstance(p, list) and p and _are_token_ids(p) for p in prompts)
    )


def _are_token_ids(values: list) -> bool:
    return all(type(v) is int and v >= 0 for v in values)


def _check_stop(stop: Any) -> Any:
    if stop is None or isinstance(stop, str) or (isinstance(stop, list) and all(isinstance(s, str) for s in stop)):
        return stop
    raise ValueError("give a string or a list of strings")


def _check_template_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    if wrong := sorted(RESERVED_ARGUMENTS & arguments.keys()):
        raise ValueError(f"{wrong[0]} is a field of the request, not an argument of the template")
    return arguments


Prompt = Annotated[Any, BeforeValidator(_check_prompt)]
Stop = Annotated[Any, BeforeValidator(_check_stop)]
TemplateArguments = Annotated[dict[str, Any], AfterValidator(_check_template_arguments)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
ZeroIfNull = Annotated[int, BeforeValidator(lambda given: 0 if given is None else given)]
