"""vllm.entrypoints.openai.cli_args under upstream's newer name."""

from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args

__all__ = ["make_arg_parser", "validate_parsed_serve_args"]
