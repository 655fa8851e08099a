"""The `vllm` command: finds the command that is asked for and runs it."""

import os
import sys
from collections.abc import Sequence

from vllm.entrypoints.cli.registry import COMMANDS, NOT_OFFERED, Command, UsageError
from vllm.exceptions import VLLMValidationError

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit status: 0, 2 for a usage error, or what the command returns."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch("vllm", COMMANDS, words)
    except (UsageError, VLLMValidationError) as error:
        print(f"vllm: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(prog: str, commands: Sequence[Command], words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_help(prog, commands), file=sys.stdout if words else sys.stderr)
        return 0 if words else EXIT_USAGE
    name, rest = words[0], words[1:]
    if prog == "vllm" and name in ("-v", "--version"):
        from vllm.version import __version__

        print(__version__)
        return 0
    command = next((c for c in commands if c.name == name), None)
    if command is None:
        raise UsageError(_unknown(prog, commands, name))
    return _run(f"{prog} {name}", command, rest)


def _run(prog: str, command: Command, words: list[str]) -> int:
    module = command.load()
    if hasattr(module, "COMMANDS"):
        return _dispatch(prog, module.COMMANDS, words)
    from vllm.entrypoints.cli.parser import CommandParser

    parser = CommandParser(prog=prog, description=module.__doc__)
    module.add_arguments(parser)
    return module.run(parser.parse_args(words)) or 0


def _help(prog: str, commands: Sequence[Command]) -> str:
    width = max(len(command.name) for command in commands)
    lines = [f"usage: {prog} COMMAND [ARGUMENTS]", "", "commands:"]
    lines += [f"  {command.name:<{width}}  {command.help}" for command in commands]
    if prog == "vllm":
        lines += ["", "options:", "  -v, --version  print the version"]
    lines += ["", f"`{prog} COMMAND --help` tells more about a command."]
    return "\n".join(lines)


def _unknown(prog: str, commands: Sequence[Command], name: str) -> str:
    instead = NOT_OFFERED.get(f"{prog} {name}".removeprefix("vllm "))
    if instead is not None:
        return f"{prog} {name} is not offered yet; {instead}"
    return f"{prog} has no command {name!r}; it has {', '.join(command.name for command in commands)}"


if __name__ == "__main__":
    sys.exit(main())
