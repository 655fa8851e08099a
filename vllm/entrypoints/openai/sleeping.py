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
        raise ApiError(400, f"level={level!r} is not accepted: give 1 or 2", param="query.level")
    await state_of(request).llm.sleep(int(level))
    return json_response({"status": "sleeping", "level": int(level)})


async def wake_up(request: Request) -> Response:
    """?tags=weights&tags=kv_cache, or none for all."""
    llm = state_of(request).llm
    tags = request.query_params.getlist("tags") or None
    await llm.wake_up(tags)
    return json_response({"status": "sleeping" if llm.sleep_level else "awake", "tags": tags})


async def is_sleeping(request: Request) -> Response:
    return json_response({"is_sleeping": await state_of(request).llm.is_sleeping()})
