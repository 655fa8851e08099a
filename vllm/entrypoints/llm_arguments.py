"""The forms that the arguments of LLM's methods may have."""

from collections.abc import Iterable, Sequence
from typing import Any

from vllm.chat_content import FORMATS
from vllm.chat_template import RESERVED_ARGUMENTS
from vllm.exceptions import VLLMValidationError
from vllm.inputs import PromptType

Conversation = list[dict[str, Any]]


def is_one_prompt(prompts: PromptType | Sequence[PromptType]) -> bool:
    """Whether this is a prompt rather than several: a list of integers is one."""
    if isinstance(prompts, list):
        return bool(prompts) and all(type(token) is int for token in prompts)
    return isinstance(prompts, str | dict)


def listed(given: Any, name: str, accepted: str) -> list[Any]:
    """What an argument of several values holds. Raises VLLMValidationError for one that cannot be iterated."""
    if isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
        raise VLLMValidationError(f"{name}={given!r} is not accepted: give {accepted}", name)
    return list(given)


def conversations_in(messages: Conversation | Sequence[Conversation]) -> list[Conversation]:
    """One conversation or several, as a list of them. Raises VLLMValidationError for anything else."""
    accepted = 'a conversation, a list of {"role": ..., "content": ...}, or a list of these'
    each = listed(messages, "messages", accepted)
    each = [each] if each and isinstance(each[0], dict) else each
    for conversation in each:
        if not isinstance(conversation, list | tuple) or not all(isinstance(message, dict) for message in conversation):
            raise VLLMValidationError(f"messages={conversation!r} is not accepted: give {accepted}", "messages")
    return each


def priorities_for(prompts: int, given: Sequence[int] | int) -> list[int]:
    """The priority of each prompt. Raises VLLMValidationError where there are more or fewer."""
    each = [given] * prompts if isinstance(given, int) else listed(given, "priority", "an integer or one a prompt")
    if len(each) != prompts:
        raise VLLMValidationError(f"{prompts} prompts but {len(each)} priorities: give one for each", "priority")
    return each


def _may_name_a_variable(name: Any) -> bool:
    return isinstance(name, str) and name not in RESERVED_ARGUMENTS


def check_template_arguments(template: Any, content_format: Any, variables: Any) -> None:
    """Raises VLLMValidationError for what a chat template cannot be rendered with."""
    for name, value, accepted, is_accepted in (
        ("chat_template", template, "text", template is None or isinstance(template, str)),
        (
            "chat_template_content_format",
            content_format,
            f"one of {', '.join(FORMATS)}",
            content_format in FORMATS,
        ),
        (
            "chat_template_kwargs",
            variables,
            f"a dict of names, none of them {', '.join(sorted(RESERVED_ARGUMENTS))}",
            variables is None or (isinstance(variables, dict) and all(map(_may_name_a_variable, variables))),
        ),
    ):
        if not is_accepted:
            raise VLLMValidationError(f"{name}={value!r} is not accepted: give {accepted}", name)
