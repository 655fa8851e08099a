"""Sleep mode's routes, there with VLLM_SERVER_DEV_MODE=1: who may call them can stop the service."""

from starlette.requests import Request
from starlette.responses import Response

from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.information import json_response
from vllm.entrypoints.openai.state import state_of


async def sleep(request: Request) -> Response:
    """?level=1 or 2. 400 while requests run, or without --enable-sleep-mode."""
    level = request.query_params.get("level", "1")
    if level not in ("1", "2"):
        raise ApiError(400, f"level={level!r} is not accepted: give 1 or 2", param="level")
    await state_of(request).llm.sleep(int(level))
    return Response()


async def wake_up(request: Request) -> Response:
    """?tags=weights&tags=kv_cache, or none for all."""
    await state_of(request).llm.wake_up(request.query_params.getlist("tags") or None)
    return Response()


async def is_sleeping(request: Request) -> Response:
    return json_response({"is_sleeping": await state_of(request).llm.is_sleeping()})
