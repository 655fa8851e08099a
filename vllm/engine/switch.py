"""Flags that are on or off."""

import argparse
from collections.abc import Sequence
from typing import Any

_OPPOSITES = {"--enable-": "--disable-", "--disable-": "--enable-"}


class Switch(argparse.Action):
    """`--flag` and `--no-flag`; `--enable-flag` also has `--disable-flag`, and the other way round.

    `shown` are the forms for help texts, one of them for each of the two values.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        opposites = [
            flag.replace(prefix, opposite, 1)
            for flag in option_strings
            for prefix, opposite in _OPPOSITES.items()
            if flag.startswith(prefix)
        ]
        negated = [flag.replace("--", "--no-", 1) for flag in option_strings if flag.startswith("--")]
        self._off = {*opposites, *negated}
        self.shown = [*option_strings, *(opposites or negated)]
        super().__init__([*option_strings, *opposites, *negated], dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        setattr(namespace, self.dest, option_string not in self._off)

    def format_usage(self) -> str:
        return " | ".join(self.shown)
