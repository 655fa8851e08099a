"""One measured request: sent to a server's streaming route, with the time of every event."""

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.cli.event_lines import lines_as_they_come

if TYPE_CHECKING:
    import httpx


@dataclass
class Outcome:
    """What became of a request. Times are in seconds.

    Attributes:
        ttft: from sending to the first token.
        itl: between events, each of which brings one token or more.
        latency: from sending to the end.
        text: the answer.
        error: why it failed, None where it did not.
    """

    prompt_tokens: int = 0
    output_tokens: int = 0
    ttft: float = 0.0
    itl: list[float] = field(default_factory=list)
    latency: float = 0.0
    text: str = ""
    error: str | None = None

    @property
    def tpot(self) -> float:
        """Seconds for each token after the first."""
        return (self.latency - self.ttft) / (self.output_tokens - 1) if self.output_tokens > 1 else 0.0


async def measure(
    client: "httpx.AsyncClient", url: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> Outcome:
    """Sends a completion or chat request with streaming and takes the times; never raises for a failed request."""
    import httpx

    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    outcome, started = Outcome(), time.perf_counter()
    try:
        async with client.stream("POST", url, json=body, headers=headers) as response:
            if response.status_code == httpx.codes.OK:
                await _read_events(response, outcome, started)
            else:
                outcome.error = _message(await response.aread()) or f"status {response.status_code}"
    except (httpx.HTTPError, ValueError, KeyError) as error:  # the last two: of a server that answers otherwise
        outcome.error = f"{type(error).__name__}: {error}".rstrip(": ")
    outcome.latency = outcome.latency or time.perf_counter() - started
    return outcome


async def _read_events(response: "httpx.Response", outcome: Outcome, started: float) -> None:
    last = started
    complete = False
    async for line in lines_as_they_come(response.aiter_bytes()):
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            complete = True
            break
        event = json.loads(data)
        if "error" in event:
            outcome.error = event["error"]["message"]
            return
        if event.get("choices"):
            now = time.perf_counter()
            if last == started:
                outcome.ttft = now - started
            else:
                outcome.itl.append(now - last)
            last = now
            outcome.text += _text(event["choices"][0])
        if usage := event.get("usage"):
            outcome.prompt_tokens, outcome.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
    outcome.latency = last - started
    if not complete:
        outcome.error = "the connection ended before the answer was complete"


def _text(choice: dict[str, Any]) -> str:
    """What an event adds to a completion or to a chat's answer."""
    return choice.get("text") or choice.get("delta", {}).get("content") or ""


def _message(content: bytes) -> str | None:
    """The message of OpenAI's error object."""
    try:
        return json.loads(content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return None
