"""Chat templates: where a model keeps them, and rendering them in jinja2's sandbox."""

import contextlib
import functools
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from vllm.chat_content import ContentForms, in_forms, last_text, with_appended
from vllm.chat_roles import in_known_roles
from vllm.exceptions import VLLMValidationError
from vllm.hf_config import read_json

RESERVED_ARGUMENTS = frozenset(
    "self messages chat_template content_format tokenize add_generation_prompt continue_final_message tools".split()
)
"""Names of what rendering takes itself, which are no variables of a template."""
# What a template is tried with.
_ROLES = ("system", "user", "assistant")
_PROBED = {"bos_token": "", "eos_token": "", "tools": None, "documents": None, "add_generation_prompt": False}
# Put behind the message that is to be continued; its white space tells whether a template trims content.
_MARK = "<the last message ends here> "


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


def read_chat_template(given: str | Path | None) -> str | None:
    """Of `--chat-template` a file's content; text that is no path but has template tags is taken as it is."""
    if given is None:
        return None
    if not isinstance(given, str | Path):
        raise VLLMValidationError(f"chat_template={given!r} is not accepted: give a file or a jinja2 template")
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(given, str) and ("{{" in given or "{%" in given):
            return given
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise VLLMValidationError(
            f"chat template {given}: {reason}; give a file or a jinja2 template", "chat_template"
        ) from None


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
    content_format: str = "auto",
    variables: dict[str, Any],
) -> str:
    """A conversation as prompt text.

    With `continue_final_message` the text ends where the last message's content ends, so that the model goes on
    with it. `content_format`: of chat_content.FORMATS. Raises VLLMValidationError for errors of the template and for
    what it refuses.
    """
    if continue_final_message and add_generation_prompt:
        raise VLLMValidationError(
            "continue_final_message and add_generation_prompt exclude each other: set one of them to false",
            "continue_final_message",
        )
    messages = in_known_roles(template, messages)
    forms = content_forms(template) if content_format == "auto" else {"user": ContentForms.of_format(content_format)}
    variables = variables | {"add_generation_prompt": add_generation_prompt}
    if not continue_final_message:
        return _render(template, in_forms(messages, forms), variables)
    marked = in_forms(with_appended(messages, _MARK), forms)
    return _cut_at_mark(_render(template, marked, variables), last_text(messages))


def _render(template: str, messages: list[dict[str, Any]], variables: dict[str, Any]) -> str:
    try:
        return _compile(template).render({**variables, "messages": messages})
    except Exception as error:  # templates are programs: whatever goes wrong in one is its own
        raise VLLMValidationError(f"the chat template refused the messages: {_one_line(error)}", "messages") from None


def _cut_at_mark(text: str, content: str) -> str:
    """What stands before the mark; without the content's last spaces where the template trims it, and so the mark."""
    at = text.rfind(_MARK.strip())
    if at < 0:
        raise VLLMValidationError(
            "continue_final_message: the chat template does not show the last message", "messages"
        )
    if text.startswith(_MARK, at) or not content.strip():
        return text[:at]
    return text[:at].removesuffix(content[len(content.rstrip()) :])


@functools.lru_cache(maxsize=64)
def content_forms(template: str) -> dict[str, ContentForms]:
    """The forms of content that the template shows, by role, found by trying; text where it shows neither."""

    def shown(of: Callable[[str], Any]) -> str:
        """The conversation with this content of each role; templates may refuse a system, or more than a user."""
        for chosen in (_ROLES, _ROLES[1:], _ROLES[1:2]):
            with contextlib.suppress(VLLMValidationError):
                return _render(template, [{"role": role, "content": of(role)} for role in chosen], _PROBED)
        return ""

    by_text = shown(lambda role: f"first{role}")
    by_parts = shown(lambda role: [{"type": "text", "text": f"{which}{role}"} for which in ("first", "second")])

    def takes_parts(role: str) -> bool:
        """A template that takes text alone may print the list, as Python or as JSON."""
        printed = (f"'text': 'first{role}'", f'"text": "first{role}"')
        shows_both = f"first{role}" in by_parts and f"second{role}" in by_parts
        return shows_both and not any(each in by_parts for each in printed)

    parts = {role: takes_parts(role) for role in _ROLES}
    return {role: ContentForms(f"first{role}" in by_text or not parts[role], parts[role]) for role in _ROLES}


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
