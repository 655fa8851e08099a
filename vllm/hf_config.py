"""config.json and generation_config.json as Hugging Face's tools write them (transformers 4 and 5)."""

import json
from pathlib import Path
from typing import Any

from vllm.exceptions import ModelError

_LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
# Rope types whose max_position_embeddings already counts the extension.
_EXTENDED_IN_CONFIG = ("default", "llama3", "longrope", "su", "mrope")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ModelError names the file where it is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist: give a folder that holds a Hugging Face style model") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}; download it again") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds a JSON {type(value).__name__}, not an object; download it again")
    return value


def read_hf_config(folder: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """config.json with `overrides` on top (nested objects are merged)."""
    return _merged(read_json(folder / "config.json"), overrides)


def _merged(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if nested else value
    return result


def architecture(hf_config: dict[str, Any], folder: Path) -> str:
    names = hf_config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise ModelError(f'{folder / "config.json"} names no architecture: it needs "architectures": ["..."]')
    return names[0]


def positive_int(hf_config: dict[str, Any], key: str, folder: Path) -> int:
    value = hf_config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ModelError(f"{folder / 'config.json'}: {key}={value!r} is not accepted: it must be a positive integer")
    return value


def rope_parameters(hf_config: dict[str, Any]) -> dict[str, Any]:
    """{"rope_type", "rope_theta", ...}: `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (4)."""
    parameters = dict(hf_config.get("rope_parameters") or hf_config.get("rope_scaling") or {})
    parameters["rope_type"] = parameters.get("rope_type") or parameters.pop("type", None) or "default"
    parameters.setdefault("rope_theta", hf_config.get("rope_theta", 10000.0))
    return parameters


def max_position(hf_config: dict[str, Any]) -> int | None:
    """The longest sequence that the model was made for, rope extension included; None where it does not say."""
    lengths = [hf_config[k] for k in _LENGTH_KEYS if isinstance(hf_config.get(k), int)]
    if not lengths:
        return None
    rope = rope_parameters(hf_config)
    if rope["rope_type"] in _EXTENDED_IN_CONFIG:
        return min(lengths)
    base = rope.get("original_max_position_embeddings") if rope["rope_type"] == "yarn" else None
    return int((base or min(lengths)) * rope.get("factor", 1.0))


def read_generation_config(source: str, folder: Path) -> dict[str, Any]:
    """generation_config.json: the model's ("auto"), none ("vllm") or another folder's; {} where there is no file."""
    if source == "vllm":
        return {}
    path = (folder if source == "auto" else Path(source)) / "generation_config.json"
    if source == "auto" and not path.exists():
        return {}
    return read_json(path)


def token_id_list(value: Any) -> list[int]:
    """`eos_token_id` of a config: an id, a list of ids, or null."""
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
