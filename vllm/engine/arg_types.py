"""Types of dataclass fields: as command line flags, and held against what Python callers give."""

import argparse
import dataclasses
import json
import re
import typing
from collections.abc import Collection
from decimal import Decimal
from types import NoneType
from typing import Any

from vllm.engine.switch import Switch
from vllm.exceptions import VLLMValidationError

_GROUP_TITLES = {"model": "model", "cache": "KV cache", "scheduler": "scheduler", "engine": "engine"}
_MULTIPLIERS = {"": 1, **{letter: 10 ** (3 * i) for i, letter in enumerate("kmgt", 1)}}
_MULTIPLIERS |= {letter: 2 ** (10 * i) for i, letter in enumerate("KMGT", 1)}


_DESCRIPTIONS = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "a list of text",
    dict: "a dict with text as keys",
    NoneType: "None",
}


def check_types(arguments: Any) -> None:
    """Raises VLLMValidationError for a field of the dataclass object whose value is not of the declared type."""
    for name, hint in typing.get_type_hints(type(arguments)).items():
        kinds = [typing.get_origin(kind) or kind for kind in typing.get_args(hint) or (hint,)]
        if typing.get_origin(hint) in (list, dict):
            kinds = [typing.get_origin(hint)]
        value = getattr(arguments, name)
        if Any not in kinds and not any(_is_of(value, kind) for kind in kinds):
            accepted = " or ".join(_DESCRIPTIONS[kind] for kind in kinds)
            raise VLLMValidationError(f"{name}={value!r} is not accepted: give {accepted}", name)


def _is_of(value: Any, kind: type) -> bool:
    if kind is bool:
        return isinstance(value, bool) or (type(value) is int and value in (0, 1))
    if kind in (int, float):
        return isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
    if kind in (list, dict):
        return isinstance(value, (list, tuple) if kind is list else dict) and all(isinstance(v, str) for v in value)
    return isinstance(value, kind)


def token_count(text: str) -> int:
    """An integer, with k, m, g, t for powers of 1000, rounded down, and K, M, G, T for powers of 1024.

    32k is 32000, 1.5K is 1536.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT]?)", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 4096, 32k (32000) or 32K (32768)")
    value = Decimal(match[1]) * _MULTIPLIERS[match[2]]
    if value != int(value) and not match[2].islower():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(value)


def token_count_or_auto(text: str) -> int:
    """As `token_count`; auto or -1 is -1, as much as there can be."""
    return -1 if text.strip().lower() in ("-1", "auto") else token_count(text)


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is not a JSON object such as {{"key": 1}}')
    return value


def add_dataclass_flags(parser: argparse.ArgumentParser, cls: type, skip: Collection[str] = ()) -> None:
    """Adds --field-name for every field; fields that are not offered are parsed, so that they are refused by name."""
    groups = {name: parser.add_argument_group(title) for name, title in _GROUP_TITLES.items()}
    hints = typing.get_type_hints(cls)
    for each in dataclasses.fields(cls):
        if each.name in skip:
            continue
        target = groups.get(each.metadata.get("group", ""), parser)
        names = ["--" + each.name.replace("_", "-"), *each.metadata.get("also", ())]
        target.add_argument(*names, **_flag_options(each, hints[each.name]), dest=each.name)


def default_of(each: dataclasses.Field) -> Any:
    """What a field is where nothing is given."""
    return each.default if each.default_factory is dataclasses.MISSING else each.default_factory()


def _flag_options(each: dataclasses.Field, hint: Any) -> dict[str, Any]:
    kinds = {k for k in (typing.get_args(hint) or (hint,)) if k is not type(None)}
    hidden = each.metadata.get("not_offered", False)
    options: dict[str, Any] = {
        "default": default_of(each),
        "help": argparse.SUPPRESS if hidden else _help(each),
    }
    if kinds == {bool}:
        return options | {"action": Switch}
    if any(typing.get_origin(k) is list for k in kinds):
        return options | {"nargs": "+"}
    if kinds == {bool, str}:
        options |= {"nargs": "?", "const": True}
    if parse := each.metadata.get("parse"):
        options["type"] = json_object if parse is json.loads else parse
    elif hidden:
        options["type"] = literal
    else:
        options["type"] = next((k for k in (int, float) if k in kinds), str)
    if choices := each.metadata.get("choices"):
        options["choices"] = choices
    elif "type" in options:
        options["metavar"] = each.name.rsplit("_", 1)[-1].upper()
    return options


def _help(each: dataclasses.Field) -> str:
    default = each.default
    text = each.metadata["help"].replace("%", "%%")
    shown = default not in (None, "", dataclasses.MISSING) and not isinstance(default, bool) and "default" not in text
    return f"{text} (default {default})" if shown else text


def literal(text: str) -> Any:
    """A value of a flag that is not offered: a number or JSON where it reads as such, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
