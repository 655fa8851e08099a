"""Chat messages as OpenAI's clients send them, made ready for a chat template."""

from typing import Any

from vllm.chat_content import joined_text
from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.requests import ChatCompletionRequest, TokenizeRequest
from vllm.entrypoints.openai.state import ServerState

# A part's type -> the field that has its text.
_TEXT_PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
_NOT_OFFERED = {
    "tool_calls": "tool calls are not parsed",
    "function_call": "tool calls are not parsed",
    "audio": "models take text only",
}
# What clients call a whole message: lm-evaluation-harness says "text", OpenAI's Responses "message".
_MESSAGE_TYPES = ("text", "message")
_OPTIONAL_TEXT = ("name", "refusal", "reasoning_content", "reasoning")
# Templates know what led to an answer by either name.
_REASONING = ("reasoning_content", "reasoning")


def render_chat(request: ChatCompletionRequest | TokenizeRequest, state: ServerState) -> str:
    """The prompt text of a request's messages. Raises ApiError, and VLLMValidationError from the template."""
    if request.chat_template is not None and not state.settings.trust_request_chat_template:
        raise ApiError(
            400,
            "chat_template in a request is not accepted: start the server with --trust-request-chat-template",
            param="chat_template",
        )
    # A final message to be continued leaves no room for the answer's opening tag.
    add_generation_prompt = request.add_generation_prompt and not request.continue_final_message
    return state.tokenizer().render_chat_template(
        [_template_message(i, message) for i, message in enumerate(request.messages or [])],
        content_format=state.settings.chat_template_content_format,
        chat_template=request.chat_template or state.chat_template,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=request.continue_final_message,
        tools=request.tools if isinstance(request, TokenizeRequest) else None,
        **state.settings.default_chat_template_kwargs | (request.chat_template_kwargs or {}),
    )


def answer_role(request: ChatCompletionRequest, state: ServerState) -> str:
    """Without an opening tag for the answer it goes on in the last message's role."""
    return state.settings.response_role if request.add_generation_prompt else request.messages[-1]["role"]


def echoed_text(request: ChatCompletionRequest, role: str) -> str:
    """What `echo` puts before an answer: the last message, where it is of the answer's role."""
    last = request.messages[-1]
    if not request.echo or last["role"] != role:
        return ""
    return joined_text(_content("messages[-1]", last.get("content")))


def _template_message(index: int, message: dict[str, Any]) -> dict[str, Any]:
    where = f"messages[{index}]"
    role = message.get("role")
    if not isinstance(role, str) or not role:
        _refuse(f"{where}.role", "give a string such as 'user'")
    if role in ("tool", "function"):
        _refuse(f"{where}.role", f"{role!r} is not offered yet: tool calls are not parsed")
    ready: dict[str, Any] = {"role": role}
    ready["content"] = _content(where, message.get("content"))
    # Other fields go to no template: servers add ids and annotations to answers, clients notes of their own.
    for name, value in message.items():
        if name in ("role", "content") or value is None:
            continue
        if name in _NOT_OFFERED and value:
            _refuse(f"{where}.{name}", f"it is not offered yet: {_NOT_OFFERED[name]}")
        if name == "type":
            if value not in _MESSAGE_TYPES:
                _refuse(f"{where}.type", f"{value!r} is not accepted; give 'message' or 'text', or leave it out")
        elif name in _OPTIONAL_TEXT:
            if not isinstance(value, str):
                _refuse(f"{where}.{name}", "give a string")
            ready[name] = value
    reasoning = [ready.pop(name) for name in _REASONING if name in ready]
    if reasoning and role == "assistant":
        ready |= dict.fromkeys(_REASONING, reasoning[-1])
    return ready


def _content(where: str, content: Any) -> str | list[dict[str, str]]:
    if content is None:
        content = ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        _refuse(f"{where}.content", "give a string or a list of text parts")
    return [{"type": "text", "text": _part_text(f"{where}.content[{i}]", part)} for i, part in enumerate(content)]


def _part_text(where: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _TEXT_PARTS:
        _refuse(where, f"a part of type {kind!r} is not offered: models take text only, give type 'text'")
    field = _TEXT_PARTS[kind]
    if not isinstance(part.get(field), str):
        _refuse(f"{where}.{field}", "give a string")
    return part[field]


def _refuse(where: str, reason: str) -> None:
    raise ApiError(400, f"{where}: {reason}", param="messages")
