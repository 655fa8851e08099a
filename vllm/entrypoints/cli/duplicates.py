"""Flags that a command line has more than once."""

import argparse
from collections.abc import Mapping, Sequence

# Actions that add to what an earlier flag gave.
_ADDING = (argparse._AppendAction, argparse._ExtendAction, argparse._CountAction)


def duplicate_flags(words: Sequence[str], actions: Mapping[str, argparse.Action]) -> list[str]:
    """Known flags, and keys of their objects, that stand there twice or more, of which only the last has an effect."""
    seen: set[str] = set()
    repeated: list[str] = []
    for word in words:
        name = word.partition("=")[0]
        flag, dot, keys = name.partition(".")
        action = actions.get(flag)
        if action is None or isinstance(action, _ADDING) or name.endswith("+"):
            continue
        whole = max(action.option_strings, key=len) + dot + keys
        if whole in seen and whole not in repeated:
            repeated.append(whole)
        seen.add(whole)
    return repeated
