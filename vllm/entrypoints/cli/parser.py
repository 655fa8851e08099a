"""Argument parsing as vLLM's users know it, strict about what it does not know."""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from vllm.engine.arg_types import json_object, literal
from vllm.engine.not_offered import is_switched_off, reason_not_offered
from vllm.entrypoints.cli.config_file import read_config_file
from vllm.entrypoints.cli.dotted import join_dotted_flags


class CommandParser(argparse.ArgumentParser):
    """An argparse parser that says errors in one line.

    Takes `--max_model_len` for `--max-model-len` and `--hf-overrides.KEY VALUE` for JSON, puts a `--config` file's
    flags before those of the command line, and refuses flags of vLLM that are not offered by name.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"allow_abbrev": False, "formatter_class": _HelpFormatter, **kwargs})

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        words = [_dashed(word) for word in (sys.argv[1:] if args is None else args)]
        words = self._with_joined_objects(words)
        if "--config" in self._option_string_actions:
            words = self._with_config_file(words)
        parsed, unknown = self.parse_known_args(words, namespace)
        unknown = [word for word in unknown if not is_switched_off(word)]
        if unknown:
            self.error(self._describe_unknown(unknown[0]))
        return parsed

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _with_joined_objects(self, words: list[str]) -> list[str]:
        flags = {
            flag: action.option_strings[0]
            for flag, action in self._option_string_actions.items()
            if action.type in (json_object, literal)
        }
        try:
            return join_dotted_flags(words, flags)
        except ValueError as error:
            self.error(str(error))

    def _with_config_file(self, words: list[str]) -> list[str]:
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=self.prog)
        finder.error = self.error
        finder.add_argument("--config")
        found, rest = finder.parse_known_args(words)
        if found.config is None:
            return words
        try:
            from_file = self._with_joined_objects(read_config_file(found.config, self._option_string_actions))
        except ValueError as error:
            self.error(str(error))
        if self._names_a_model(rest):
            from_file = [word for word in from_file if not word.startswith("--model=")]
        # The model may come first on the command line; options of the file must not swallow it.
        positional = rest[:1] if rest and not rest[0].startswith("-") else []
        return positional + from_file + rest[len(positional) :]

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


def _dashed(word: str) -> str:
    """`--max_model_len=8` is `--max-model-len=8`; keys after a dot and values keep their underscores."""
    if not word.startswith("--"):
        return word
    flag = re.match(r"[^.=]*", word)[0]
    return flag.replace("_", "-") + word[len(flag) :]
