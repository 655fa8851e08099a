"""What chat messages say: text, or a list of text parts as OpenAI's clients send it; templates take one or both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm.exceptions import VLLMValidationError

FORMATS = ("auto", "string", "openai")
"""How templates get content: as it is where they take that, as text, as parts."""


@dataclass(frozen=True)
class ContentForms:
    """Which forms of content a template takes; at least one."""

    text: bool
    parts: bool

    @classmethod
    def of_format(cls, name: str) -> "ContentForms":
        """Of "string" and "openai"."""
        return cls(text=name == "string", parts=name == "openai")


def checked_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose content is text, a list of parts {"type": "text", "text": ...} or None.

    Raises VLLMValidationError for any other content.
    """
    return [m | {"content": _checked(m["content"])} if "content" in m else m for m in messages]


def in_forms(messages: list[dict[str, Any]], forms: Mapping[str, ContentForms]) -> list[dict[str, Any]]:
    """Messages whose content has their role's forms: parts are joined by line breaks, text becomes one part.

    Roles that `forms` does not name have the user's.
    """

    def converted(message: dict[str, Any]) -> dict[str, Any]:
        if "content" not in message:
            return message
        return message | {"content": _in_forms(message["content"], forms.get(message.get("role"), forms["user"]))}

    return [converted(message) for message in messages]


def with_appended(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Messages the last of which ends with `text`, too. Raises VLLMValidationError where it has no content."""
    content = messages[-1].get("content") if messages else None
    if isinstance(content, str):
        longer: Any = content + text
    elif isinstance(content, list) and content:
        longer = [*content[:-1], content[-1] | {"text": content[-1]["text"] + text}]
    else:
        raise VLLMValidationError("continue_final_message needs a last message with text content", "messages")
    return [*messages[:-1], messages[-1] | {"content": longer}]


def last_text(messages: list[dict[str, Any]]) -> str:
    """The text, or the last part's, of the last message, which `with_appended` takes."""
    content = messages[-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def joined_text(content: str | list[dict[str, str]] | None) -> str:
    """Content as one text: parts are joined by line breaks."""
    return "\n".join(part["text"] for part in content) if isinstance(content, list) else content or ""


def _checked(content: Any) -> str | list[dict[str, str]] | None:
    if isinstance(content, list):
        return [{"type": "text", "text": _part_text(part)} for part in content]
    if content is None or isinstance(content, str):
        return content
    raise VLLMValidationError(
        f"message content of type {type(content).__name__!r} is not accepted: give text or text parts", "messages"
    )


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        raise VLLMValidationError(f"message content of type {kind!r} is not accepted: give text parts", "messages")
    return text


def _in_forms(content: str | list[dict[str, str]] | None, forms: ContentForms) -> Any:
    if isinstance(content, str) and not forms.text:
        return [{"type": "text", "text": content}]
    if isinstance(content, list) and not forms.parts:
        return joined_text(content)
    return content
