"""POST /invocations, one path for both kinds of completion, as hosting services call models."""

from starlette.requests import Request
from starlette.responses import Response

from vllm.entrypoints.openai.body import read_object
from vllm.entrypoints.openai.chat import answer_chat
from vllm.entrypoints.openai.completions import answer_completion
from vllm.entrypoints.openai.errors import ApiError


async def invoke(http_request: Request) -> Response:
    """A body with `messages` is a chat's, one with `prompt` a completion's."""
    fields = await read_object(http_request)
    if "messages" in fields:
        return await answer_chat(http_request, fields)
    if "prompt" in fields:
        return await answer_completion(http_request, fields)
    raise ApiError(400, "the body has neither messages nor a prompt; give one of them")
