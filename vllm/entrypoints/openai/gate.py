"""What every request passes first: the key, and the count of those that are open."""

import hmac
import logging
import time

from starlette.routing import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.state import ServerState

logger = logging.getLogger("vllm.server")

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Gate:
    """ASGI middleware. With keys, /v1 and whatever changes or computes something asks for one of them."""

    def __init__(self, app: ASGIApp, state: ServerState):
        self._app = app
        self._state = state
        self._keys = [key.encode() for key in state.settings.api_key]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = get_route_path(scope)
        if self._keys and _is_guarded(scope["method"], path) and not self._has_key(scope):
            await _unauthorized()(scope, receive, send)
            return
        if scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
        else:
            await self._pass_counted(scope, receive, send)

    async def _pass_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._state.num_open_requests += 1
        started, forward = time.monotonic(), send
        if self._state.settings.enable_log_requests:
            forward = _log_status(scope, send)
        try:
            await self._app(scope, receive, forward)
        finally:
            self._state.num_open_requests -= 1
            if self._state.settings.enable_log_requests:
                logger.info("%s %s ended after %.3f s", scope["method"], scope["path"], time.monotonic() - started)

    def _has_key(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = given.partition(b" ")
        # Every key is compared, in time that does not depend on where they differ.
        matches = [hmac.compare_digest(token.strip(), key) for key in self._keys]
        return kind.lower() == b"bearer" and any(matches)


def _is_guarded(method: str, path: str) -> bool:
    return method != "OPTIONS" and (path == "/v1" or path.startswith("/v1/") or method not in _SAFE_METHODS)


def _unauthorized():
    error = ApiError(
        401,
        "a key is needed: send 'Authorization: Bearer KEY' with one that the server was started with",
        code="invalid_api_key",
    )
    response = error.response()
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _log_status(scope: Scope, send: Send) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start":
            logger.info("%s %s: %d", scope["method"], scope["path"], message["status"])
        await send(message)

    return forward
