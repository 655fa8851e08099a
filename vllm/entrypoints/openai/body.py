"""Request bodies: read within limits, parsed strictly, checked against a model of their fields."""

import pydantic
import pydantic_core
from starlette.requests import ClientDisconnect, Request

from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.fields import FieldRules

# Room for a batch of prompts of 128k tokens as ids, far from what would trouble the server's memory.
MAX_BODY_BYTES = 32 << 20
_SHOWN_VALUE_CHARACTERS = 80


async def parse_body(request: Request, model: type[pydantic.BaseModel], rules: FieldRules) -> pydantic.BaseModel:
    """The request's body as `model`.

    Raises:
        ApiError: 413 for a body that is too large; 400 for one that is not a JSON object, has a field that is
            unknown or not offered, or a value of the wrong type.
    """
    fields = _parse_object(await _read(request))
    rules.check(fields)
    try:
        return model.model_validate(fields, strict=True)
    except pydantic.ValidationError as error:
        raise _describe(error) from None


async def _read(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise ApiError(413, f"the body is larger than {MAX_BODY_BYTES >> 20} MiB; send less at once")
    except ClientDisconnect:
        raise ApiError(400, "the client went away before the body was complete") from None
    return bytes(body)


def _parse_object(body: bytes) -> dict:
    try:
        fields = pydantic_core.from_json(body, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ApiError(400, f"the body is a JSON {type(fields).__name__}, give an object")
    return fields


def _describe(error: pydantic.ValidationError) -> ApiError:
    """The first error as one line: the field, what is wrong, what was given."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "missing":
        return ApiError(400, f"the field {path[-1]!r} is missing", param=path[-1])
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"unknown field {'.'.join(path)!r}", param=path[0])
    given = repr(first["input"])
    if len(given) > _SHOWN_VALUE_CHARACTERS:
        given = given[:_SHOWN_VALUE_CHARACTERS] + "..."
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{'.'.join(path)}: {message}; given was {given}", param=path[0] if path else None)
