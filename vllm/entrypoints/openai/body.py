"""Request bodies: read within limits, parsed strictly, checked against a model of their fields."""

from typing import Any, TypeVar

import pydantic
import pydantic_core
from starlette.requests import ClientDisconnect, Request

from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.fields import FieldRules

# Room for a batch of prompts of 128k tokens as ids, far from what would trouble the server's memory.
MAX_BODY_BYTES = 32 << 20
_SHOWN_VALUE_CHARACTERS = 80
Body = TypeVar("Body", bound=pydantic.BaseModel)


async def read_object(request: Request) -> dict[str, Any]:
    """The request's body.

    Raises:
        ApiError: 413 for a body that is too large; 415 for one that says it is not JSON, which a page of another
            origin could send without being allowed to; 400 for one that is not a JSON object.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"the body's type is {kind[:100]!r}; send JSON with Content-Type: application/json")
    return _parse_object(await _read(request))


async def parse_body(request: Request, model: type[Body], rules: FieldRules) -> Body:
    """The request's body as `model`. Raises ApiError as `read_object` and `parse_fields` do."""
    return parse_fields(await read_object(request), model, rules)


def parse_fields(fields: dict[str, Any], model: type[Body], rules: FieldRules) -> Body:
    """A body as `model`. Raises ApiError 400 for a field that is unknown or not offered, or of the wrong type."""
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
    message = first["msg"].removeprefix("Value error, ")
    if not path:  # of several fields together; it begins with the one that is at fault
        return ApiError(400, message, param=message.split()[0])
    given = repr(first["input"])
    if len(given) > _SHOWN_VALUE_CHARACTERS:
        given = given[:_SHOWN_VALUE_CHARACTERS] + "..."
    # The error's name, as pydantic has it, is what programs find it by.
    return ApiError(400, f"{'.'.join(path)}: {message}; given was {given} [{first['type']}]", param=path[0])
