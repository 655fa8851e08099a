"""The flags of `vllm bench serve`."""

import argparse
import math

from vllm.engine.switch import Switch
from vllm.entrypoints.cli.bench.options import (
    add_output_flag,
    add_progress_flag,
    percentile_list,
    real_number,
    whole_number,
)
from vllm.entrypoints.cli.bench.serve_report import GOODPUT_METRICS, METRICS

# Backend: the route its requests go to.
ENDPOINTS = {"openai": "/v1/completions", "vllm": "/v1/completions", "openai-chat": "/v1/chat/completions"}


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("server")
    server.add_argument(
        "--backend", choices=tuple(ENDPOINTS), default="openai", help="kind of requests (default openai)"
    )
    server.add_argument("--base-url", metavar="URL", help="the server's address, in place of --host and --port")
    server.add_argument("--host", default="127.0.0.1", help="(default 127.0.0.1)")
    server.add_argument("--port", type=whole_number(1), default=8000, help="(default 8000)")
    server.add_argument("--endpoint", metavar="PATH", help="route to send to (default: the backend's)")
    server.add_argument("--model", help="model to ask for (default: the first that is served)")
    server.add_argument("--served-model-name", metavar="NAME", help="the name to ask by, where --model is another")
    server.add_argument("--api-key", metavar="KEY", help="key that the server asks for (default OPENAI_API_KEY)")
    server.add_argument("--insecure", action="store_true", help="take any TLS certificate")
    server.add_argument(
        "--ready-check-timeout-sec",
        type=real_number(0),
        default=0.0,
        metavar="S",
        help="how long to wait for the server (default 0)",
    )
    _add_tokenizer_flags(server)


def _add_tokenizer_flags(server: argparse._ArgumentGroup) -> None:
    accepted = "accepted; the server tokenizes"
    server.add_argument("--tokenizer", metavar="NAME", help=accepted)
    server.add_argument("--tokenizer-mode", choices=("auto", "hf"), default="auto", help=accepted)
    server.add_argument("--trust-remote-code", action="store_true", help=accepted)
    server.add_argument("--skip-tokenizer-init", action="store_true", help=accepted)


def add_load_flags(parser: argparse.ArgumentParser) -> None:
    load = parser.add_argument_group("load")
    load.add_argument(
        "--request-rate",
        type=real_number(0, above=True),
        default=math.inf,
        metavar="R",
        help="requests a second; inf sends all at once (default inf)",
    )
    load.add_argument(
        "--burstiness",
        type=real_number(0, above=True),
        default=1.0,
        metavar="B",
        help="1 is a Poisson process, less is burstier, more is evener (default 1)",
    )
    load.add_argument("--max-concurrency", type=whole_number(1), metavar="N", help="most requests open at once")
    load.add_argument(
        "--num-warmups",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="requests before those that count (default 0)",
    )
    load.add_argument(
        "--ignore-eos",
        action=Switch,
        default=None,
        help="go on to the length asked for (default: with random prompts)",
    )
    load.add_argument("--seed", type=int, default=0, help="seed of prompts and of arrival times (default 0)")


def add_report_flags(parser: argparse.ArgumentParser) -> None:
    report = parser.add_argument_group("report")
    report.add_argument(
        "--percentile-metrics",
        default="ttft,tpot,itl,e2el",
        metavar="NAMES",
        help=f"metrics to report, of {','.join(METRICS)} (default all)",
    )
    report.add_argument(
        "--metric-percentiles",
        type=percentile_list,
        default=[99.0],
        metavar="LIST",
        help="percentiles to report, as 50,90,99 (default 99)",
    )
    add_output_flag(report)
    report.add_argument(
        "--goodput",
        nargs="+",
        default=[],
        metavar="NAME:MS",
        help=f"count requests a second that keep these times, of {','.join(GOODPUT_METRICS)}",
    )
    report.add_argument("--label", help="what the run is called (default: the backend)")
    report.add_argument("--save-detailed", action="store_true", help="write what each request took and got, too")
    report.add_argument("--save-result", action="store_true", help="write the figures to a file named after the run")
    report.add_argument("--result-dir", metavar="FOLDER", help="its folder, made if need be (default: this one)")
    report.add_argument("--result-filename", metavar="NAME", help="its name")
    report.add_argument("--metadata", nargs="*", default=[], metavar="KEY=VALUE", help="more entries for that file")
    add_progress_flag(report)
