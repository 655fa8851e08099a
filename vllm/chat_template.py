"""Chat templates: where a model keeps them, and rendering them in jinja2's sandbox."""

import functools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.hf_config import read_json


def read_chat_templates(folder: Path, tokenizer_config: dict[str, Any]) -> dict[str, str]:
    """By name, "default" being the one that is used unasked. Files win over tokenizer_config.json."""
    templates: dict[str, str] = {}
    declared = tokenizer_config.get("chat_template")
    if isinstance(declared, str):
        templates["default"] = declared
    elif isinstance(declared, list):
        templates.update({t["name"]: t["template"] for t in declared})
    if (folder / "chat_template.json").exists():
        templates["default"] = read_json(folder / "chat_template.json")["chat_template"]
    if (folder / "chat_template.jinja").exists():
        templates["default"] = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[path.stem] = path.read_text(encoding="utf-8")
    return templates


def select_template(templates: dict[str, str], given: str | None, with_tools: bool) -> str:
    """The template text to use: a given text, a named one, "tool_use" for tools, else "default"."""
    if given is not None:
        return templates.get(given, given)
    if with_tools and "tool_use" in templates:
        return templates["tool_use"]
    if "default" in templates:
        return templates["default"]
    raise VLLMValidationError(
        "the model has no chat template: give one (--chat-template or chat_template), or use completions", "messages"
    )


def render(
    template: str,
    messages: list[dict[str, Any]],
    *,
    add_generation_prompt: bool,
    continue_final_message: bool,
    variables: dict[str, Any],
) -> str:
    """A conversation as prompt text.

    With `continue_final_message` the text ends where the last message's content ends, so that the model goes on
    with it. Raises VLLMValidationError for errors of the template and for what it refuses.
    """
    import jinja2

    if continue_final_message and add_generation_prompt:
        raise VLLMValidationError(
            "continue_final_message and add_generation_prompt exclude each other: set one of them to false",
            "continue_final_message",
        )
    try:
        text = _compile(template).render(messages=messages, add_generation_prompt=add_generation_prompt, **variables)
    except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
        raise VLLMValidationError(f"the chat template refused the messages: {_one_line(error)}", "messages") from None
    return _cut_after_final_message(text, messages) if continue_final_message else text


def _cut_after_final_message(text: str, messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content") if messages else None
    if not isinstance(content, str):
        raise VLLMValidationError("continue_final_message needs a last message with text content", "messages")
    for wanted in (content, content.strip()):
        if wanted and (at := text.rfind(wanted)) >= 0:
            return text[: at + len(wanted)]
    raise VLLMValidationError("continue_final_message: the chat template does not show the last message", "messages")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@functools.lru_cache(maxsize=64)
def _compile(template: str) -> Any:
    return _environment().from_string(template)


@functools.lru_cache(maxsize=1)
def _environment() -> Any:
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationTag(Extension):
        """{% generation %}...{% endgeneration %} marks the model's own text for training; it prints its content."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body).set_lineno(line)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", GenerationTag]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """Plain JSON: jinja2's own filter escapes HTML characters."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise_exception(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def text_messages(messages: list[dict[str, Any]], as_parts: bool = False) -> list[dict[str, Any]]:
    """Messages whose content is text: parts {"type": "text"} are joined by line breaks, others refused.

    With `as_parts` all content is given as such parts instead.
    """
    return [
        message | {"content": _content(message["content"], as_parts)} if "content" in message else message
        for message in messages
    ]


def _content(content: Any, as_parts: bool) -> str | list[dict[str, str]] | None:
    if content is None:
        return content
    if not isinstance(content, str | list):
        raise VLLMValidationError(
            f"message content of type {type(content).__name__!r} is not accepted: give text or text parts", "messages"
        )
    texts = [_part_text(part) for part in ([content] if isinstance(content, str) else content)]
    return [{"type": "text", "text": text} for text in texts] if as_parts else "\n".join(texts)


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        raise VLLMValidationError(f"message content of type {kind!r} is not accepted: give text parts", "messages")
    return text
