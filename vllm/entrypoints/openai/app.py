"""The ASGI application: routes, errors, and what stands in front of them."""

import importlib.util
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from vllm import envs
from vllm.entrypoints.openai import information, requests, responses, sleeping
from vllm.entrypoints.openai.chat import create_chat_completion
from vllm.entrypoints.openai.completions import create_completion
from vllm.entrypoints.openai.description import describe
from vllm.entrypoints.openai.errors import ApiError, respond_to_exception
from vllm.entrypoints.openai.gate import Gate
from vllm.entrypoints.openai.invocations import invoke
from vllm.entrypoints.openai.metrics import ServedMetrics
from vllm.entrypoints.openai.request_headers import RequestIdHeaders
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
    def add(method: str, path: str, handler: Callable[[Request], Any], **described: Any) -> None:
        app.add_api_route(path, handler, methods=[method], **describe(**described))

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    add("GET", "/health", information.health)
    add("GET", "/ping", information.health)
    add("POST", "/ping", information.health)
    add("GET", "/version", information.version, answer=dict)
    add("GET", "/load", information.load, answer=dict)
    add("GET", "/metrics", show_metrics, text=True)
    add("GET", "/v1/models", information.list_models, answer=responses.ModelList)
    add("GET", "/v1/models/{name:path}", information.show_model, answer=responses.ModelCard, path_parameter="name")
    add("POST", "/reset_prefix_cache", information.reset_prefix_cache, answer=dict)
    if settings.enable_tokenizer_info_endpoint:
        add("GET", "/tokenizer_info", information.tokenizer_info, answer=dict)
    if envs.VLLM_SERVER_DEV_MODE:
        add("GET", "/is_sleeping", sleeping.is_sleeping, answer=dict)
        add("POST", "/sleep", sleeping.sleep, answer=dict)
        add("POST", "/wake_up", sleeping.wake_up, answer=dict)
    for path, handler, body, answer in (
        ("/v1/completions", create_completion, requests.CompletionRequest, responses.Completion),
        ("/v1/chat/completions", create_chat_completion, requests.ChatCompletionRequest, responses.ChatCompletion),
        ("/tokenize", information.tokenize, requests.TokenizeRequest, responses.TokenizeResponse),
        ("/detokenize", information.detokenize, requests.DetokenizeRequest, responses.DetokenizeResponse),
        ("/invocations", invoke, {"type": "object"}, dict),
    ):
        add("POST", path, handler, body=body, answer=answer, streams=path not in ("/tokenize", "/detokenize"))
    if importlib.util.find_spec(_WEB_PAGE) is not None:
        app.include_router(importlib.import_module(_WEB_PAGE).build_router())
