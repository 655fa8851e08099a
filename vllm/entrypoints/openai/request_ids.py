"""Ids of requests: what an answer is called, and the header by which proxies follow a request."""

import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vllm.entrypoints.openai.errors import ApiError

HEADER = "X-Request-Id"
MAX_LENGTH = 256


def new_id(prefix: str, http_request: Request, given: str | None) -> str:
    """An answer's id, which names the request in the engine, too: of the header, else of the body, else random."""
    from_header = http_request.headers.get(HEADER)
    if from_header is not None and not 0 < len(from_header) <= MAX_LENGTH:
        raise ApiError(400, f"{HEADER} has {len(from_header)} characters: give 1 to {MAX_LENGTH}, or leave it out")
    return f"{prefix}-{from_header or given or uuid.uuid4().hex}"


class RequestIdHeaders:
    """ASGI middleware: each response has its request's X-Request-Id, or a new one."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get(HEADER) or uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append(HEADER, request_id)
            await send(message)

        await self._app(scope, receive, send_with_id)
