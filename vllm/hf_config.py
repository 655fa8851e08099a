"""config.json and generation_config.json as Hugging Face's tools write them (transformers 4 and 5)."""

import json
from pathlib import Path
from typing import Any

from vllm.exceptions import ModelError

_LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
# Rope types whose max_position_embeddings already counts the extension.
_EXTENDED_IN_CONFIG = ("default", "llama3", "longrope", "su", "mrope")
# Rope settings that hold for every rope type, and are found beside rope_scaling, too.
_BESIDE_ROPE_SCALING = ("rope_theta", "partial_rotary_factor")
# Rope types that start from the length before the extension; it wins where it stands outside of their settings.
_ORIGINAL_LENGTH = "original_max_position_embeddings"
_FROM_ORIGINAL_LENGTH = ("llama3", "yarn", "longrope", "su")


class HfConfig(dict[str, Any]):
    """What config.json says, as items and as attributes, which is how transformers' configurations have it."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"config.json does not say {name!r}") from None

    def to_dict(self) -> dict[str, Any]:
        return dict(self)


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
    """config.json with `overrides` on top: nested objects are merged, rope settings across their fields, too."""
    stored = read_json(folder / "config.json")
    config = _merged(stored, overrides)
    if rope := _rope_overrides(overrides):
        config |= {"rope_parameters": rope_parameters(stored) | rope, "rope_scaling": None}
        config |= {key: rope[key] for key in (*_BESIDE_ROPE_SCALING, _ORIGINAL_LENGTH) if key in rope}
    return config


def _rope_overrides(overrides: dict[str, Any]) -> dict[str, Any]:
    """What overrides say of rope, in transformers 4's fields or 5's, in the form of `rope_parameters`."""
    given = {key: overrides[key] for key in (*_BESIDE_ROPE_SCALING, _ORIGINAL_LENGTH) if key in overrides}
    if "rope_scaling" in overrides:
        given |= _object(overrides, "rope_scaling") or {"rope_type": "default"}
    given |= _object(overrides, "rope_parameters")
    if "type" in given:
        given.setdefault("rope_type", given.pop("type"))
    return given


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


def _object(hf_config: dict[str, Any], key: str) -> dict[str, Any]:
    value = hf_config.get(key)
    if not isinstance(value, dict | None):
        raise ModelError(f"{key}={value!r} is not accepted: it must be an object with rope_type, or null")
    return value or {}


def rope_parameters(hf_config: dict[str, Any]) -> dict[str, Any]:
    """{"rope_type", "rope_theta", ...}: `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (4).

    Of both, as where a file of transformers 5 was edited, `rope_scaling` wins.
    """
    newer = _object(hf_config, "rope_parameters")
    parameters = dict(_object(hf_config, "rope_scaling") or newer)
    parameters["rope_type"] = parameters.get("rope_type") or parameters.pop("type", None) or "default"
    for key in _BESIDE_ROPE_SCALING:
        if (value := newer.get(key, hf_config.get(key))) is not None:
            parameters.setdefault(key, value)
    parameters.setdefault("rope_theta", 10000.0)
    if parameters["rope_type"] in _FROM_ORIGINAL_LENGTH and hf_config.get(_ORIGINAL_LENGTH):
        parameters[_ORIGINAL_LENGTH] = hf_config[_ORIGINAL_LENGTH]
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
