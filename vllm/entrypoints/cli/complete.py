"""Complete text with a served model."""

import argparse

from vllm.entrypoints.cli.remote import Remote, add_client_flags, read_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_client_flags(parser)


def run(args: argparse.Namespace) -> int:
    remote = Remote(args)
    for text in [args.quick] if args.quick else read_lines("> "):
        remote.show("/completions", {"prompt": text})
    return 0
