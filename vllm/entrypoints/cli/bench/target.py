"""The server that `vllm bench serve` measures: its address, its model, its tokenizer."""

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.cli.bench.request_flags import request_headers
from vllm.entrypoints.cli.bench.samples import read_exchanges
from vllm.entrypoints.cli.registry import UsageError

if TYPE_CHECKING:
    import httpx

_RETRY_SECONDS = 0.5
_CONNECT_SECONDS = 10.0
# Random prompts are drawn from the tokens of this text: ordinary ones, which every tokenizer has.
_SEED_TEXT = (
    "The quick brown fox jumps over the lazy dog while seven small boats drift slowly down a wide green river. "
    "People in the old town open their windows, count 1234567890 reasons to stay, and talk about bread, music, "
    "numbers, gardens, machines, letters, winter, stone bridges, long roads, bright lamps and quiet evenings. "
    "Zealous workers quickly pack five dozen jugs; every exam question vexes a puzzled but hopeful student."
)


class Target:
    """A server that answers. Methods raise UsageError, in one line, where it refuses."""

    def __init__(self, url: str, model: str, http: "httpx.AsyncClient"):
        self.url, self.model, self.http = url, model, http

    async def token_pool(self) -> list[int]:
        """Token ids for random prompts."""
        return sorted(set(await self._tokenize(_SEED_TEXT)))

    async def detokenize(self, tokens: list[int]) -> str:
        return (await self._post("/detokenize", {"model": self.model, "tokens": tokens}))["prompt"]

    async def count_all(self, path: str) -> dict[str, int]:
        """Token counts of every question and answer of a ShareGPT file."""
        texts = {text for exchange in read_exchanges(path) for text in exchange}
        return {text: len(await self._tokenize(text)) for text in texts}

    async def _tokenize(self, text: str) -> list[int]:
        return (await self._post("/tokenize", {"model": self.model, "prompt": text, "add_special_tokens": False}))[
            "tokens"
        ]

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return _checked(self.url + path, await self.http.post(path, json=body))


@contextlib.asynccontextmanager
async def connect(args: argparse.Namespace) -> AsyncIterator[Target]:
    """The server that the flags name. Raises UsageError where it does not answer in time or a key is wrong."""
    import httpx

    url = (args.base_url or f"http://{args.host}:{args.port}").rstrip("/")
    key = args.api_key or os.environ.get("OPENAI_API_KEY")
    async with httpx.AsyncClient(
        base_url=url,
        headers=({"Authorization": f"Bearer {key}"} if key else {}) | request_headers(args),
        verify=not args.insecure,
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
    ) as http:
        served = await _served_models(http, url, args.ready_check_timeout_sec)
        yield Target(url, args.served_model_name or args.model or served[0], http)


async def _served_models(http: "httpx.AsyncClient", url: str, wait_seconds: float) -> list[str]:
    import httpx

    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            models = _checked(f"{url}/v1/models", await http.get("/v1/models"))
            return [model["id"] for model in models["data"]]
        except (httpx.TransportError, httpx.InvalidURL) as error:
            if time.monotonic() >= deadline:
                hint = "is `vllm serve` running there? --ready-check-timeout-sec waits for it"
                raise UsageError(f"{url} does not answer ({error}); {hint}") from None
        await asyncio.sleep(_RETRY_SECONDS)


def _checked(url: str, response: "httpx.Response") -> dict[str, Any]:
    """The body of an answer with status 200; UsageError with its message for any other."""
    try:
        body = response.json()
        if response.status_code == 200:
            return body
        message = body["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"status {response.status_code}"
    raise UsageError(f"{url} refused: {message}")
