"""What `vllm bench serve` puts in each request beside its prompt: sampling, fields of one's own, headers."""

import argparse
from typing import Any

from vllm.engine.arg_types import json_object
from vllm.entrypoints.cli.bench.options import pairs_of, real_number, whole_number

_SAMPLING = {
    "top_p": (real_number(0, 1, above=True), "P"),
    "top_k": (whole_number(-1), "K"),
    "min_p": (real_number(0, 1), "P"),
    "frequency_penalty": (real_number(-2, 2), "X"),
    "presence_penalty": (real_number(-2, 2), "X"),
    "repetition_penalty": (real_number(0, above=True), "X"),
    "logprobs": (whole_number(0), "N"),
}


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what requests say")
    group.add_argument("--temperature", type=real_number(0), default=0.0, metavar="T", help="(default 0)")
    for name, (parse, letter) in _SAMPLING.items():
        group.add_argument("--" + name.replace("_", "-"), type=parse, metavar=letter, help="(default: the server's)")
    group.add_argument("--extra-body", type=json_object, default={}, metavar="JSON", help="more fields of requests")
    group.add_argument("--header", nargs="*", default=[], metavar="KEY=VALUE", help="headers of requests")
    group.add_argument("--request-id-prefix", metavar="TEXT", help="name requests by this and a number")


def request_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a body that the flags give; --extra-body has the last word."""
    given = {name: value for name in _SAMPLING if (value := getattr(args, name)) is not None}
    if args.backend == "openai-chat" and "logprobs" in given:
        given |= {"logprobs": True, "top_logprobs": given["logprobs"]}
    return {"temperature": args.temperature, **given, **args.extra_body}


def request_headers(args: argparse.Namespace) -> dict[str, str]:
    """Raises UsageError for a --header that is none."""
    return pairs_of(args.header, "--header", "=")
