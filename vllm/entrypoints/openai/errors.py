"""OpenAI's error object, and which status each of our errors has."""

import http

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vllm.entrypoints.openai.upstream_paths import NOT_OFFERED_PATHS
from vllm.exceptions import EngineDeadError, PromptTooLongError, VLLMValidationError


class ErrorInfo(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    error: ErrorInfo


class ApiError(Exception):
    """An answer that is an error: HTTP status, one line of message, and OpenAI's `param` and `code`."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    @property
    def type(self) -> str:
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self) -> ErrorBody:
        return ErrorBody(ErrorInfo(str(self), self.type, self.param, self.code))

    def response(self) -> Response:
        headers = {"Retry-After": "1"} if self.status == http.HTTPStatus.SERVICE_UNAVAILABLE else None
        return Response(msgspec.json.encode(self.body()), self.status, headers, "application/json")


def to_api_error(error: Exception, *, was_running: bool = False) -> ApiError:
    """`was_running`: the request had been accepted, so that an engine that died owes it 500 instead of 503."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, VLLMValidationError):
        code = "context_length_exceeded" if isinstance(error, PromptTooLongError) else None
        return ApiError(400, str(error), param=error.parameter, code=code)
    if isinstance(error, EngineDeadError):
        return ApiError(500 if was_running else 503, str(error), code="engine_error")
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, error.detail)
    return ApiError(500, f"internal error: {type(error).__name__}; the server's log has the details")


async def respond_to_exception(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for everything."""
    api_error = to_api_error(error)
    if isinstance(error, HTTPException):
        api_error = _describe_routing_error(request, error)
    return api_error.response()


def _describe_routing_error(request: Request, error: HTTPException) -> ApiError:
    if error.status_code == http.HTTPStatus.NOT_FOUND:
        if reason := NOT_OFFERED_PATHS.get(request.url.path):
            return ApiError(404, f"{request.url.path} is not offered yet: {reason}")
        described = f"; the interface is described at {url}" if (url := request.app.openapi_url) else ""
        return ApiError(404, f"there is nothing at {request.url.path}{described}")
    if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        return ApiError(405, f"{request.url.path} does not take {request.method}; use {allowed}")
    return ApiError(error.status_code, error.detail)
