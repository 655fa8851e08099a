"""Talk with a served model."""

import argparse

from vllm.entrypoints.cli.remote import Remote, add_client_flags, read_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_client_flags(parser)
    parser.add_argument("--system-prompt", metavar="TEXT", help="what the model is told before the conversation")


def run(args: argparse.Namespace) -> int:
    remote = Remote(args)
    messages = [{"role": "system", "content": args.system_prompt}] if args.system_prompt else []
    for text in [args.quick] if args.quick else read_lines("> "):
        messages.append({"role": "user", "content": text})
        messages.append({"role": "assistant", "content": remote.show("/chat/completions", {"messages": messages})})
    return 0
