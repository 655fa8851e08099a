"""`--config FILE.yaml`: command line flags in a file, one key a flag."""

import argparse
import json
from collections.abc import Mapping
from typing import Any


def read_config_file(path: str, actions: Mapping[str, argparse.Action]) -> list[str]:
    """The file's flags as command line words.

    Keys are flag names without dashes in front (`max-model-len: 2048`), with `model` for the model. A list becomes
    several values, a mapping JSON, `true` the bare flag and `false` its `--no-` form.

    Raises:
        ValueError: a file that cannot be read, is not a YAML mapping, or has an unknown key.
    """
    words: list[str] = []
    for key, value in _load(path).items():
        flag = "--" + str(key).replace("_", "-")
        if flag not in actions or flag == "--config":
            raise ValueError(f"--config {path}: unknown key {key!r}; keys are flag names without the leading dashes")
        words += _flag_words(path, flag, value, actions)
    return words


def _load(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise ValueError(f"--config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"--config {path}: give a mapping of flag names to values, not a {type(content).__name__}")
    return content


def _flag_words(path: str, flag: str, value: Any, actions: Mapping[str, argparse.Action]) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool) and actions[flag].nargs == 0:
        negative = flag.replace("--", "--no-", 1)
        if value:
            return [flag]
        return [negative] if negative in actions else []
    if isinstance(value, list) and actions[flag].nargs is not None:
        return [flag, *map(_word, value)]
    return [f"{flag}={_word(value)}"]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
