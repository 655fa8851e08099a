"""What the flags of `vllm bench serve` put in a request."""

import argparse
from typing import Any

import pytest

from vllm.entrypoints.cli.bench.request_flags import add_request_flags, request_fields, request_headers
from vllm.entrypoints.cli.bench.serve_flags import add_server_flags


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_server_flags(parser)
    add_request_flags(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ((), {"temperature": 0.0}),
        (
            ("--temperature", "0.5", "--top-k", "-1", "--presence-penalty=-1"),
            {"temperature": 0.5, "top_k": -1, "presence_penalty": -1.0},
        ),
        (("--logprobs", "3"), {"temperature": 0.0, "logprobs": 3}),
        (("--logprobs", "3", "--backend", "openai-chat"), {"temperature": 0.0, "logprobs": True, "top_logprobs": 3}),
        (("--min-p", "0.1", "--extra-body", '{"min_p": 0.2, "x": {}}'), {"temperature": 0.0, "min_p": 0.2, "x": {}}),
    ],
)
def test_fields(words: tuple[str, ...], fields: dict[str, Any]) -> None:
    assert request_fields(parse(*words)) == fields


def test_headers() -> None:
    assert request_headers(parse("--header", "a=b=c", "d=")) == {"a": "b=c", "d": ""}
