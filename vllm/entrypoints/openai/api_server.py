"""`python -m vllm.entrypoints.openai.api_server --model MODEL`: the same server as `vllm serve MODEL`."""

import argparse
import sys
from typing import Any

from vllm.entrypoints.cli.main import main
from vllm.entrypoints.cli.serve import configured
from vllm.not_offered import refuse_given


async def run_server(args: argparse.Namespace, **uvicorn_options: Any) -> None:
    """Serves in a program's event loop; `args` are what cli_args.make_arg_parser's parser gives.

    Raises VLLMValidationError or UsageError for what is at fault, and EngineDeadError where the engine cannot go on.
    """
    refuse_given(**uvicorn_options)
    from vllm.entrypoints.openai.launch import run

    await run(*configured(args))


if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
