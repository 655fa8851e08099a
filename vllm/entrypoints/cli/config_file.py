"""`--config FILE.yaml`: command line flags in a file, one key a flag."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from vllm.engine.upstream_arguments import asks_for_nothing, reason_not_offered


def read_config_file(path: str, actions: Mapping[str, argparse.Action]) -> list[str]:
    """The file's flags as command line words.

    Keys are flag names without dashes in front (`max-model-len: 2048`), with `model` for the model. A list becomes
    several values, a mapping JSON, `true` the bare flag and `false` its `--no-` form. A flag that is not offered is
    left out where it asks for nothing.

    Raises:
        OSError: a file that cannot be read.
        ValueError: one that is not a YAML mapping, or has an unknown key.
    """
    words: list[str] = []
    for key, value in load_mapping(path).items():
        name, dot, keys = str(key).partition(".")
        flag = "--" + name.replace("_", "-")
        if flag == "--config" or (flag not in actions and reason_not_offered(flag) is None):
            raise ValueError(f"--config {path}: unknown key {key!r}; keys are flag names without the leading dashes")
        if dot:
            words.append(f"{flag}.{keys}={_word(value)}")
        elif flag in actions:
            words += _flag_words(flag, value, actions)
        elif not asks_for_nothing(name.replace("-", "_"), value):
            words.append(flag)
    return words


def put_after_positionals(words: list[str], more: list[str]) -> list[str]:
    """`more` after the words before the first flag: there, flags of the command line win and none swallows a model."""
    flags = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    return words[:flags] + more + words[flags:]


def load_mapping(path: str) -> dict[str, Any]:
    """What a YAML file says. Raises as `read_config_file`."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"--config {path}: give a mapping of flag names to values, not a {type(content).__name__}")
    return content


def _flag_words(flag: str, value: Any, actions: Mapping[str, argparse.Action]) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool) and actions[flag].nargs == 0:
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, list) and actions[flag].nargs is not None:
        return [flag, *map(_word, value)]
    return [f"{flag}={_word(value)}"]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
