"""A small client of a running server, for `vllm chat` and `vllm complete`."""

import argparse
import contextlib
import http
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.cli.event_lines import lines
from vllm.entrypoints.cli.registry import UsageError

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://localhost:8000/v1"
_CONNECT_SECONDS = 10.0


def add_client_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that both commands take."""
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's address (default {DEFAULT_URL})")
    parser.add_argument("--model-name", metavar="NAME", help="model to ask (default: the first that is served)")
    parser.add_argument("--api-key", metavar="KEY", help="key that the server asks for (default OPENAI_API_KEY)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest answer, in tokens")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 always gives the most likely answer")
    parser.add_argument("--stats", action="store_true", help="after an answer, print how soon and how fast it came")
    parser.add_argument("-q", "--quick", metavar="TEXT", help="send this one text, print the answer and leave")


class Remote:
    """Asks one server. Raises UsageError, in one line, for whatever keeps it from answering."""

    def __init__(self, args: argparse.Namespace):
        import httpx

        key = args.api_key or os.environ.get("OPENAI_API_KEY")
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        )
        self._url = args.url.rstrip("/")
        self._stats = args.stats
        self._options = {"max_tokens": args.max_tokens, "temperature": args.temperature}
        self.model = args.model_name or self._first_model()

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer."""
        given = {name: value for name, value in self._options.items() if value is not None}
        if self._stats:
            given["stream_options"] = {"include_usage": True}
        with self._request("POST", path, body | given | {"model": self.model, "stream": True}) as response:
            for line in lines(response.iter_bytes()):
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise UsageError(event["error"]["message"])
                yield event

    def show(self, path: str, body: dict[str, Any]) -> str:
        """Prints the answer as it comes, and returns it."""
        started, first, tokens = time.perf_counter(), None, 0
        pieces = []
        for event in self.stream(path, body):
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            for choice in event["choices"]:
                piece = choice.get("text") or choice.get("delta", {}).get("content") or ""
                first = time.perf_counter() if piece and first is None else first
                pieces.append(piece)
                print(piece, end="", flush=True)
        print()
        if self._stats and first is not None:
            seconds = time.perf_counter() - started
            print(f"TTFT: {1000 * (first - started):.2f} ms")
            print(f"TPS:  {tokens / seconds:.2f} tokens/s ({tokens} tokens in {seconds:.2f}s)")
        return "".join(pieces)

    def _first_model(self) -> str:
        with self._request("GET", "/models") as response:
            return json.loads(response.read())["data"][0]["id"]

    @contextlib.contextmanager
    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Iterator["httpx.Response"]:
        import httpx

        try:
            with self._http.stream(method, self._url + path, json=body) as response:
                if response.status_code != http.HTTPStatus.OK:
                    raise UsageError(_error_message(response))
                yield response
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UsageError(f"{self._url} does not answer ({error}); is `vllm serve` running there?") from None


def _error_message(response: "httpx.Response") -> str:
    """The message of OpenAI's error object, or the status of a server that has none."""
    try:
        return json.loads(response.read())["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered with status {response.status_code}"


def read_lines(prompt: str) -> Iterator[str]:
    """Lines that the user types, until end of file or an interrupt; empty ones are skipped."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() its line editing
    shown = prompt if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(shown)
        except EOFError:
            if shown:
                print()
            return
        if line.strip():
            yield line
