"""What /openapi.json says of a route: handlers read bodies and write answers themselves, for errors to be OpenAI's."""

from typing import Any

import msgspec
from pydantic import BaseModel
from starlette.responses import Response

from vllm.entrypoints.openai.errors import ErrorBody

_EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}


def describe(
    answer: Any = None,
    *,
    body: type[BaseModel] | dict[str, Any] | None = None,
    streams: bool = False,
    text: bool = False,
    path_parameter: str | None = None,
) -> dict[str, Any]:
    """Options of FastAPI.add_api_route.

    Args:
        answer: type of the JSON that a success answers with; None: it has no body.
        body: model or schema of the request's body.
        streams: whether events may come in place of the answer.
        text: the answer is text.
    """
    content = {} if answer is None else _json(answer)
    if text:
        content = {"text/plain": {"schema": {"type": "string"}}}
    if streams:
        content |= _EVENTS
    errors = {"description": "an error", "content": _json(ErrorBody)}
    extra: dict[str, Any] = {}
    if body is not None:
        schema = body if isinstance(body, dict) else _inlined(body.model_json_schema())
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if path_parameter is not None:
        place = {"name": path_parameter, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        extra["parameters"] = [place]
    return {
        "response_class": Response,  # FastAPI would add JSON to those that have no body
        "responses": {200: {"description": "success", "content": content}, "4XX": errors, "5XX": errors},
        "openapi_extra": extra,
    }


def _json(kind: Any) -> dict[str, Any]:
    return {"application/json": {"schema": _inlined(msgspec.json.schema(kind))}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that stands by itself: what it refers to, none of it recursive, is put in its place."""
    definitions = schema.get("$defs", {})

    def inline(value: Any) -> Any:
        if isinstance(value, list):
            return [inline(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return inline(definitions[value["$ref"].rpartition("/")[2]])
        return {name: inline(each) for name, each in value.items() if name != "$defs"}

    return inline(schema)
