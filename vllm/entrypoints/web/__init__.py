"""The page at `/`: chat with the served model and watch the engine, without any outside asset."""

import logging
import time
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

STATIC = Path(__file__).parent / "static"
STATS_PATH = "/web/stats"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _DropStatsPolls(logging.Filter):
    """Keeps an open page, which asks for the statistics every second, from filling the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return STATS_PATH not in record.getMessage()


def build_router() -> APIRouter:
    """Return the routes of the page: `/`, its files under `/web/` and the engine's figures at `/web/stats`."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route(STATS_PATH, show_stats, methods=["GET"])
    for path in sorted(STATIC.iterdir()):
        route = "/" if path.name == "index.html" else f"/web/{path.name}"
        router.add_api_route(route, _serve_file(path), methods=["GET", "HEAD"])
    access_log = logging.getLogger("uvicorn.access")
    if not any(isinstance(known, _DropStatsPolls) for known in access_log.filters):
        access_log.addFilter(_DropStatsPolls())
    return router


def _serve_file(path: Path):
    content, media_type = path.read_bytes(), MEDIA_TYPES[path.suffix]

    async def serve_file() -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)

    return serve_file


async def show_stats(request: Request) -> JSONResponse:
    """The engine's state and counters; `clock` (seconds) lets two answers be turned into a rate."""
    llm = request.app.state.server.llm
    stats = llm.stats
    body = {
        "clock": time.monotonic(),
        "engine_up": bool(llm.is_running),
        "running": stats.num_running,
        "waiting": stats.num_waiting,
        "kv_cache_usage": stats.kv_cache_usage,
        "kv_cache_tokens": stats.kv_cache_tokens,
        "prompt_tokens": stats.prompt_tokens,
        "generation_tokens": stats.generation_tokens,
    }
    return JSONResponse(body, headers={"Cache-Control": "no-store"})
