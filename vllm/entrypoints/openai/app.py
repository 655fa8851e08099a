"""The ASGI application: routes, errors, and what stands in front of them."""

import importlib.util
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from vllm import envs
from vllm.entrypoints.openai import information, requests, sleeping
from vllm.entrypoints.openai.chat import create_chat_completion
from vllm.entrypoints.openai.completions import create_completion
from vllm.entrypoints.openai.errors import ApiError, respond_to_exception
from vllm.entrypoints.openai.gate import Gate
from vllm.entrypoints.openai.invocations import invoke
from vllm.entrypoints.openai.metrics import ServedMetrics
from vllm.entrypoints.openai.request_ids import RequestIdHeaders
from vllm.entrypoints.openai.settings import ServerSettings
from vllm.entrypoints.openai.state import ServerState
from vllm.exceptions import EngineDeadError, VLLMValidationError
from vllm.version import __version__

_WEB_PAGE = "vllm.entrypoints.web"


def build_app(state: ServerState) -> FastAPI:
    """The application that serves `state.llm`."""
    # The path's prefix is this application's business, not uvicorn's: requests come with it and without it.
    app = FastAPI(
        title="vllm",
        version=__version__,
        openapi_url=None if state.settings.disable_fastapi_docs else "/openapi.json",
        docs_url=None,
        redoc_url=None,
        root_path=state.settings.root_path,
    )
    app.state.server = state
    _add_routes(app, state.settings, ServedMetrics(state.llm))
    for kind in (ApiError, VLLMValidationError, EngineDeadError, HTTPException, Exception):
        app.add_exception_handler(kind, respond_to_exception)
    app.add_middleware(Gate, state=state)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=state.settings.allowed_origins,
        allow_methods=state.settings.allowed_methods,
        allow_headers=state.settings.allowed_headers,
        allow_credentials=state.settings.allow_credentials,
    )
    if state.settings.enable_request_id_headers:
        app.add_middleware(RequestIdHeaders)
    return app


def _add_routes(app: FastAPI, settings: ServerSettings, metrics: ServedMetrics) -> None:
    async def show_metrics(request: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for path, handler in {
        "/health": information.health,
        "/version": information.version,
        "/load": information.load,
        "/metrics": show_metrics,
        "/v1/models": information.list_models,
        "/v1/models/{name:path}": information.show_model,
    }.items():
        app.add_api_route(path, handler, methods=["GET"])
    app.add_api_route("/ping", information.health, methods=["GET", "POST"])
    app.add_api_route("/reset_prefix_cache", information.reset_prefix_cache, methods=["POST"])
    if settings.enable_tokenizer_info_endpoint:
        app.add_api_route("/tokenizer_info", information.tokenizer_info, methods=["GET"])
    if envs.VLLM_SERVER_DEV_MODE:
        app.add_api_route("/is_sleeping", sleeping.is_sleeping, methods=["GET"])
        app.add_api_route("/sleep", sleeping.sleep, methods=["POST"])
        app.add_api_route("/wake_up", sleeping.wake_up, methods=["POST"])
    for path, (handler, body) in {
        "/v1/completions": (create_completion, requests.CompletionRequest),
        "/v1/chat/completions": (create_chat_completion, requests.ChatCompletionRequest),
        "/tokenize": (information.tokenize, requests.TokenizeRequest),
        "/detokenize": (information.detokenize, requests.DetokenizeRequest),
    }.items():
        app.add_api_route(path, handler, methods=["POST"], openapi_extra=_describe_body(body))
    app.add_api_route("/invocations", invoke, methods=["POST"])
    if importlib.util.find_spec(_WEB_PAGE) is not None:
        app.include_router(importlib.import_module(_WEB_PAGE).build_router())


def _describe_body(model: type[BaseModel]) -> dict[str, Any]:
    """Bodies are parsed by the handlers, so that errors are OpenAI's; this is their description for /openapi.json."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
