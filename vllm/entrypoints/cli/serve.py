"""Serve a model over HTTP with OpenAI's interface.

MODEL is a folder in Hugging Face's layout, a model installed in this environment, or a name on Hugging Face.
"""

import argparse

from vllm.engine.arg_types import add_dataclass_flags
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.cli.registry import UsageError
from vllm.entrypoints.openai.settings import ServerSettings, add_server_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL [FLAGS]"
    parser.epilog = (
        "--help=GROUP tells about the flags of a group alone, --help=WORD about those with it in their names."
    )
    parser.add_argument("model_tag", nargs="?", metavar="MODEL", help="the model to serve")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--config", metavar="FILE", help="YAML file with flags; the command line wins")
    add_server_flags(parser)
    add_dataclass_flags(parser, AsyncEngineArgs, skip={"model"})


def run(args: argparse.Namespace) -> int:
    engine_args, settings = configured(args)
    from vllm.entrypoints.openai.launch import launch

    return launch(engine_args, settings)


def configured(args: argparse.Namespace) -> tuple[AsyncEngineArgs, ServerSettings]:
    """What a parsed command line asks for. Raises UsageError for the model, VLLMValidationError for all else."""
    model = args.model_tag or args.model
    if not model:
        raise UsageError("vllm serve needs a MODEL: a folder, an installed model, or a name on Hugging Face")
    if args.model_tag and args.model not in (None, args.model_tag):
        raise UsageError(f"two models were given, {args.model_tag} and --model {args.model}; one server serves one")
    args.model = model
    settings = ServerSettings.from_cli_args(args)
    return AsyncEngineArgs.from_cli_args(args), settings
