"""Flags of JSON objects, a key at a time: `--hf-overrides.rope_theta 5` is `--hf-overrides={"rope_theta": 5}`."""

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vllm.engine.arg_types import token_count


def join_dotted_flags(words: Sequence[str], object_flags: Mapping[str, str]) -> list[str]:
    """The words with one flag, at the end, for each object of which keys were given.

    Values are JSON where they read as such, numbers such as 8k, else text; `--flag.key+ a,b` adds to a list.
    `object_flags` has every flag that takes an object, short ones included, and what it is called at length.

    Raises:
        ValueError: a flag without a key or a value, a key within what is no object, an object that is given whole, too.
    """
    others: list[str] = []
    objects: dict[str, dict[str, Any]] = {}
    rest = iter(words)
    for word in rest:
        dotted, equals, value = word.partition("=")
        flag, dot, path = dotted.partition(".")
        if not dot or flag not in object_flags:
            others.append(word)
            continue
        if not equals:
            value = next(rest, "--")
            if value.startswith("--"):
                raise ValueError(f"{dotted} needs a value")
        _put(objects.setdefault(object_flags[flag], {}), dotted, path.split("."), value)
    _check_not_whole(objects, [object_flags.get(word.partition("=")[0]) for word in others])
    return others + [f"{flag}={json.dumps(content)}" for flag, content in objects.items()]


def _put(content: dict[str, Any], dotted: str, keys: list[str], text: str) -> None:
    if not all(keys):
        raise ValueError(f"{dotted} has an empty key; give a name after each dot")
    *outer, last = keys
    for key in outer:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ValueError(f"{dotted}: {key} was given a value before, it holds no keys")
    if not last.endswith("+"):
        content[last] = _value(text)
        return
    items = content.setdefault(last[:-1], [])
    if not isinstance(items, list):
        raise ValueError(f"{dotted}: {last[:-1]} was given a value before that is no list")
    items += map(_value, text.split(","))


def _value(text: str) -> Any:
    for read in (json.loads, token_count):
        try:
            return read(text)
        except (ValueError, argparse.ArgumentTypeError):
            continue
    return text


def _check_not_whole(objects: Collection[str], flags: Collection[str | None]) -> None:
    for flag in objects:
        if flag in flags:
            raise ValueError(f"{flag} is given whole and by its keys; give one of them")
