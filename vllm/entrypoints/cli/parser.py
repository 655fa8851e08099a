"""Argument parsing as vLLM's users know it, strict about what it does not know."""

import argparse
import difflib
import json
import logging
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from vllm.engine.arg_types import json_object, literal
from vllm.engine.switch import Switch
from vllm.engine.upstream_arguments import is_switched_off, reason_not_offered
from vllm.entrypoints.cli.config_file import put_after_positionals, read_config_file
from vllm.entrypoints.cli.dotted import join_dotted_flags
from vllm.entrypoints.cli.duplicates import duplicate_flags
from vllm.entrypoints.cli.help_about import help_about

_log = logging.getLogger(__name__)


class CommandParser(argparse.ArgumentParser):
    """An argparse parser that says errors in one line.

    Takes `--max_model_len` for `--max-model-len` and `--hf-overrides.KEY VALUE` for JSON, puts a `--config` file's
    flags before those of the command line, tells of a part by `--help=PART`, and refuses flags of vLLM that are not
    offered by name.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _HelpFormatter, **kwargs})
        self.register("action", argparse.BooleanOptionalAction, Switch)

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        words = [_dashed(word) for word in (sys.argv[1:] if args is None else args)]
        self._answer_help_about(words)
        self._warn_of_duplicates(words)
        words = self._with_config_file(self._with_joined_objects(words))
        parsed, unknown = self.parse_known_args(words, namespace)
        unknown = [word for word in unknown if not is_switched_off(word)]
        if unknown:
            self.error(self._describe_unknown(unknown[0]))
        return parsed

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")

    def flags(self) -> dict[str, argparse.Action]:
        """Every flag, of subcommands too, and its action."""
        found = dict(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    found |= parser.flags()
        return found

    def _answer_help_about(self, words: list[str]) -> None:
        for word in words:
            if word.startswith("--help="):
                print(help_about(self, word.partition("=")[2]))
                self.exit()

    def _warn_of_duplicates(self, words: list[str]) -> None:
        repeated = duplicate_flags(words, self.flags())
        if repeated:
            _log.warning("duplicate flags, of which the last counts: %s", ", ".join(repeated))

    def _with_joined_objects(self, words: list[str]) -> list[str]:
        flags = {
            flag: action.option_strings[0]
            for flag, action in self.flags().items()
            if action.type in (json_object, json.loads, literal)
        }
        try:
            return join_dotted_flags(words, flags)
        except ValueError as error:
            self.error(str(error))

    def _with_config_file(self, words: list[str]) -> list[str]:
        """The words with those of the file that --config names, where this parser has that flag."""
        if "--config" not in self._option_string_actions:
            return words
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=self.prog)
        finder.error = self.error
        finder.add_argument("--config")
        found, rest = finder.parse_known_args(words)
        if found.config is None:
            return words
        try:
            from_file = self._with_joined_objects(read_config_file(found.config, self._option_string_actions))
        except OSError as error:
            self.error(f"--config {found.config}: {error.strerror}")
        except ValueError as error:
            self.error(str(error))
        if self._names_a_model(rest):
            from_file = [word for word in from_file if not word.startswith("--model=")]
        return put_after_positionals(rest, from_file)

    def _names_a_model(self, words: list[str]) -> bool:
        """Whether these say MODEL or --model: being two arguments, the later of them does not win by itself."""
        given, _ = self.parse_known_args(words)
        return bool(getattr(given, "model_tag", None) or getattr(given, "model", None))

    def _describe_unknown(self, word: str) -> str:
        flag = word.split("=", 1)[0]
        if not flag.startswith("-"):
            return f"unexpected argument {word!r}; see {self.prog} --help"
        reason = reason_not_offered(flag)
        if reason is not None:
            return f"{flag} is not offered yet: {reason}; leave it out"
        close = difflib.get_close_matches(flag, self._option_string_actions, n=1)
        hint = f"did you mean {close[0]}?" if close else f"see {self.prog} --help"
        return f"unknown flag {flag}; {hint}"


class _HelpFormatter(argparse.HelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=34, width=118)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        return ", ".join(action.shown) if isinstance(action, Switch) else super()._format_action_invocation(action)


def _dashed(word: str) -> str:
    """`--max_model_len=8` is `--max-model-len=8`; keys after a dot and values keep their underscores."""
    if not word.startswith("--"):
        return word
    flag = re.match(r"[^.=]*", word)[0]
    return flag.replace("_", "-") + word[len(flag) :]
