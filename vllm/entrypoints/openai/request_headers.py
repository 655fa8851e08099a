"""What requests say in headers beside their bodies: proxies follow them by an id, and rank them."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vllm.entrypoints.openai.errors import ApiError

ID_HEADER = "X-Request-Id"
MAX_ID_LENGTH = 256
PRIORITY_HEADER = "X-Vllm-Priority"


def new_id(prefix: str, http_request: Request, given: str | None) -> str:
    """An answer's id, which names the request in the engine, too: of the header, else of the body, else random."""
    from_header = http_request.headers.get(ID_HEADER)
    if from_header is not None and not 0 < len(from_header) <= MAX_ID_LENGTH:
        raise ApiError(
            400, f"{ID_HEADER} has {len(from_header)} characters: give 1 to {MAX_ID_LENGTH}, or leave it out"
        )
    return f"{prefix}-{from_header or given or uuid.uuid4().hex}"


def priority_of(http_request: Request, given: int) -> int:
    """Of the header, else of the body."""
    from_header = http_request.headers.get(PRIORITY_HEADER)
    if from_header is None:
        return given
    if not re.fullmatch(r"-?\d{1,19}", from_header):
        raise ApiError(400, f"{PRIORITY_HEADER}: {from_header[:40]!r} is not accepted: give a 64-bit integer")
    return int(from_header)


class RequestIdHeaders:
    """ASGI middleware: each response has its request's X-Request-Id, or a new one."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get(ID_HEADER) or uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append(ID_HEADER, request_id)
            await send(message)

        await self._app(scope, receive, send_with_id)
