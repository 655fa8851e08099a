"""The command line's parser under upstream's name."""

import argparse
import json
import re
import sys
from collections.abc import Sequence

from vllm.engine.arg_types import token_count, token_count_or_auto
from vllm.entrypoints.cli.config_file import load_mapping, put_after_positionals
from vllm.entrypoints.cli.parser import CommandParser

__all__ = ["FlexibleArgumentParser", "human_readable_int", "human_readable_int_or_auto"]

human_readable_int = token_count
human_readable_int_or_auto = token_count_or_auto


class FlexibleArgumentParser(CommandParser):
    """Reads the whole command line of a program, `serve MODEL --flag`, with or without subcommands.

    `--config FILE` need not be a flag of the parser. Raises OSError and ValueError for what is wrong with the file, and
    ValueError for `serve` with a file and without a model.
    """

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        words = list(sys.argv[1:] if args is None else args)
        if "--optimization-level" in self.flags():
            words = _spell_out_levels(words)
        return super().parse_args(_model_after_serve(words), namespace)

    def load_config_file(self, file_path: str) -> list[str]:
        """The file's keys as flags and values, a word each."""
        if not file_path.endswith((".yaml", ".yml")):
            raise ValueError(f"--config {file_path}: give a file that is called .yaml or .yml")
        flags, words = self.flags(), []
        for key, value in load_mapping(file_path).items():
            name = str(key).replace("_", "-")
            if isinstance(value, bool):
                words += [f"--{name}"] if value else [f"--no-{name}"] if f"--no-{name}" in flags else []
            elif isinstance(value, list):
                words += [f"--{name}", *map(str, value)] if value else []
            else:
                words += [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]
        return words

    def check_port(self, value: str) -> int:
        """An argparse type: a port that needs no rights."""
        if not value.isdigit() or not 1024 <= int(value) <= 65535:
            raise argparse.ArgumentTypeError(f"{value!r} is not a port: give a number from 1024 to 65535")
        return int(value)

    def _with_config_file(self, words: list[str]) -> list[str]:
        place = next((i for i, word in enumerate(words) if word.partition("=")[0] == "--config"), None)
        if place is None:
            return words
        _, equals, path = words[place].partition("=")
        end = place + (1 if equals else 2)
        if not equals and end > len(words):
            raise ValueError("--config names no file: give one after it")
        from_file = self.load_config_file(path if equals else words[place + 1])
        rest = words[:place] + words[end:]
        names_model = len(rest) > 1 and not rest[1].startswith("-")
        if rest[:1] == ["serve"] and not names_model and "--model" not in from_file:
            raise ValueError("No model specified! Give it after `serve`, or as `model` in the file that --config names")
        return put_after_positionals(rest, self._with_joined_objects(from_file))


def _spell_out_levels(words: list[str]) -> list[str]:
    """-O3, -O=3 and -O 3 as --optimization-level 3."""
    spelt: list[str] = []
    for word in words:
        match = re.fullmatch(r"-O=?(.*)", word)
        spelt += ["--optimization-level", *filter(None, match.groups())] if match else [word]
    return spelt


def _model_after_serve(words: list[str]) -> list[str]:
    """`serve --flag --model NAME` as `serve NAME --flag`."""
    if words[:1] != ["serve"]:
        return words
    for place, word in enumerate(words):
        flag, equals, name = word.partition("=")
        if flag == "--model" and (equals or place + 1 < len(words)):
            end = place + (1 if equals else 2)
            return ["serve", name if equals else words[place + 1], *words[1:place], *words[end:]]
    return words
