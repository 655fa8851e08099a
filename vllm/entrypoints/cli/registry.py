"""Commands by name, each imported only when it is the one asked for.

A command is a module with

    def add_arguments(parser: argparse.ArgumentParser) -> None
    def run(args: argparse.Namespace) -> int | None      # the exit status

A group (`vllm bench`) is a module with `COMMANDS: tuple[Command, ...]` instead. Command modules import what is slow
(torch, FastAPI, httpx) inside `run`, so that `--help` stays fast. `run` reports a user's mistake by raising
`UsageError`: one line on stderr, exit status 2, no traceback.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Command:
    """One word of the command line: its name, its line of help, and the module that implements it."""

    name: str
    help: str
    module: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


class UsageError(Exception):
    """A mistake of the user's, said in one line; the command exits with status 2."""


COMMANDS = (
    Command("serve", "serve a model over HTTP with OpenAI's interface", "vllm.entrypoints.cli.serve"),
    Command("chat", "talk with a served model", "vllm.entrypoints.cli.chat"),
    Command("complete", "complete text with a served model", "vllm.entrypoints.cli.complete"),
    Command("bench", "measure latency, throughput, serving and startup", "vllm.entrypoints.cli.bench"),
    Command("collect-env", "print what a bug report needs", "vllm.entrypoints.cli.collect_env"),
)

# What follows `vllm`, and what to do instead.
NOT_OFFERED = {
    "run-batch": "send the batch file's requests to `vllm serve`",
    "launch": "use `vllm serve`",
    "snapshot": "use `vllm serve`",
    "preload": "use `vllm serve`",
    "download-kernels": "the package holds its kernels",
    "bench forward": "use `vllm bench latency`",
    "bench sweep": "run `vllm bench` once for each setting",
    "bench mm-processor": "models take text only",
}
