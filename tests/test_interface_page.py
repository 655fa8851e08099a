"""docs/interface.md names what there is, all of it and nothing else."""

import re
from pathlib import Path
from types import SimpleNamespace

from fastapi.routing import APIRoute

from vllm import envs
from vllm.entrypoints.openai import app
from vllm.entrypoints.openai.settings import ServerSettings
from vllm.models.registry import ModelRegistry

PAGE = (Path(__file__).parents[1] / "docs" / "interface.md").read_text()


def test_routes(monkeypatch):
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    monkeypatch.setattr(app, "ServedMetrics", lambda llm: None)
    monkeypatch.setattr(app, "_WEB_PAGE", "vllm.no_page")
    settings = ServerSettings(enable_tokenizer_info_endpoint=True)
    routes = app.build_app(SimpleNamespace(settings=settings, llm=None)).routes
    served = {f"{method} {route.path}" for route in routes if isinstance(route, APIRoute) for method in route.methods}
    named = {f"{method} {path}" for method, path in re.findall(r"`(GET|POST) (/[^`]*)`", PAGE)}
    assert named == {route.replace(":path}", "}") for route in served} | {"GET /openapi.json"}


def test_architectures():
    assert sorted(re.findall(r"^\| `(\w+ForCausalLM)` \|", PAGE, re.MULTILINE)) == ModelRegistry.get_supported_archs()


def test_environment_variables():
    assert set(re.findall(r"`(VLLM_[A-Z_]+)` ?[|,]", PAGE)) == set(envs.environment_variables)
