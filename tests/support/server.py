"""`vllm serve` as its users start it: a process of its own, asked over real sockets."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import psutil

START_SECONDS = 120.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 60.0
COMMAND = (sys.executable, "-m", "vllm.entrypoints.cli.main")


def run_vllm(*words: str, **options) -> subprocess.CompletedProcess:
    """One command to its end, away from the checkout."""
    options = {"cwd": tempfile.gettempdir(), "capture_output": True, "text": True, "timeout": COMMAND_SECONDS} | options
    return subprocess.run([*COMMAND, *words], **options)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


class Server:
    """A running server. `http` is an httpx client of it, `url` its address; leave the block to stop it.

    `command`: what starts it, given the model and flags.
    """

    def __init__(
        self,
        model: Path | str,
        *flags: str,
        env: dict[str, str] | None = None,
        command: Sequence[str] = (*COMMAND, "serve"),
    ):
        port = () if any(flag in flags for flag in ("--port", "--uds")) else ("--port", "0")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the server
        self.process = subprocess.Popen(
            [*command, str(model), *port, *flags],
            cwd=tempfile.gettempdir(),
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "0.25", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.ready_line = self._read_ready_line()
        self.url = re.search(r" at (\S+) ", self.ready_line)[1]
        self.http = self.client()

    def client(self, **options) -> httpx.Client:
        """A client with its own connections."""
        if self.url.startswith("unix:"):
            options["transport"] = httpx.HTTPTransport(uds=self.url.removeprefix("unix:"))
        base = "http://server" if self.url.startswith("unix:") else self.url
        return httpx.Client(base_url=base, timeout=60.0, **options)

    def _read_ready_line(self) -> str:
        line = self.process.stdout.readline()
        if " at " not in line:
            self.process.wait(START_SECONDS)
            raise RuntimeError(f"the server did not start, status {self.process.returncode}: {self.errors()}")
        return line

    def errors(self) -> str:
        """What the server wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read()

    @property
    def core(self) -> psutil.Process:
        """The engine's process."""
        return psutil.Process(self.process.pid).children()[0]

    def metric(self, name: str) -> float:
        """The value of a metric without labels of its own, such as num_requests_running."""
        text = self.http.get("/metrics").text
        return float(re.search(rf"^vllm:{name}\{{[^}}]*\}} (\S+)$", text, re.MULTILINE)[1])

    def wait_idle(self) -> None:
        wait_until(lambda: self.metric("num_requests_running") == 0, what="an idle engine")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """Interrupts the server and returns its exit status."""
        self.http.close()
        if self.process.poll() is None:
            self.interrupt()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
            self._errors.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def post_events(client: httpx.Client, path: str, body: Sequence | dict) -> list[str]:
    """The data of each event of a streamed answer, [DONE] included."""
    with client.stream("POST", path, json={**body, "stream": True}) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        return [line.removeprefix("data: ") for line in response.iter_lines() if line]
