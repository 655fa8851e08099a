"""The flags of `vllm serve` for programs that parse them."""

import argparse

from vllm.chat_template import read_chat_template
from vllm.entrypoints.cli.serve import add_arguments


def make_arg_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    add_arguments(parser)
    return parser


def validate_parsed_serve_args(args: argparse.Namespace) -> None:
    """Raises VLLMValidationError where --chat-template is neither a file nor a template."""
    read_chat_template(getattr(args, "chat_template", None))
