"""Time `vllm serve` from the start of its process to the first healthy answer, with a new process each time."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

from vllm.entrypoints.cli.bench.options import (
    add_model_flags,
    add_output_flag,
    add_progress_flag,
    check_engine_args,
    given_engine_args,
    real_number,
    whole_number,
)
from vllm.entrypoints.cli.bench.report import check_writable, print_table, progress, summarize, write_json
from vllm.entrypoints.cli.registry import UsageError

_ADDRESS = re.compile(r" at (https?://\S+)")
_POLL_SECONDS = 0.005
_STOP_SECONDS = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-iters-warmup", type=whole_number(0), default=1, metavar="N", help="starts that do not count (default 1)"
    )
    parser.add_argument(
        "--num-iters", type=whole_number(1), default=3, metavar="N", help="starts that count (default 3)"
    )
    parser.add_argument(
        "--timeout",
        type=real_number(0, above=True),
        default=600.0,
        metavar="S",
        help="longest start, in seconds (default 600)",
    )
    add_output_flag(parser)
    add_progress_flag(parser)
    add_model_flags(parser)


def run(args: argparse.Namespace) -> None:
    check_writable(args.output_json)
    check_engine_args(args)
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", *_serve_words(given_engine_args(args))]
    times: list[float] = []
    with progress(args.num_iters_warmup + args.num_iters, "startup", "start", args.disable_tqdm) as bar:
        for iteration in range(-args.num_iters_warmup, args.num_iters):
            seconds = time_start(command, args.timeout)
            if iteration >= 0:
                times.append(seconds)
            bar.update()
    summary = summarize(times, ())
    rows = [(name, f"{value:.3f} s") for name, value in (("fastest", min(times)), *summary.items())]
    print_table(f"{args.num_iters} starts of {args.model}", rows)
    write_json(args.output_json, {"startup_times": times, "min": min(times), **summary})


def time_start(command: list[str], timeout: float) -> float:
    """Seconds until a new server answers /health, then stops it. Raises UsageError where it does not."""
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        server = subprocess.Popen(command, stdout=errors, stderr=subprocess.STDOUT, text=True)
        try:
            _wait_healthy(server, errors, started + timeout, timeout)
            return time.perf_counter() - started
        finally:
            _stop(server)


def _wait_healthy(server: subprocess.Popen, log: IO[str], deadline: float, timeout: float) -> None:
    import httpx

    address = None
    while time.perf_counter() < deadline:
        if server.poll() is not None:
            raise UsageError(f"the server ended with status {server.returncode}: {_last_line(log)}")
        if address is None:
            match = _ADDRESS.search(_read(log))
            address = match and match[1].rstrip(",;")
        elif _is_healthy(httpx, address):
            return
        time.sleep(_POLL_SECONDS)
    raise UsageError(
        f"the server was not ready after {timeout:g} s: give more with --timeout; it said: {_last_line(log)}"
    )


def _is_healthy(httpx: Any, address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def _read(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def _last_line(log: IO[str]) -> str:
    return next((line for line in reversed(_read(log).splitlines()) if line.strip()), "it printed nothing")


def _stop(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _serve_words(engine_args: dict[str, Any]) -> list[str]:
    """Engine arguments as words for `vllm serve`, at a free port."""
    words = [engine_args.pop("model"), "--port", "0"]
    for name, value in engine_args.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        elif value is not None:
            words.append(f"{flag}={json.dumps(value) if isinstance(value, dict) else value}")
    return words
