"""Where a model's files are: a folder, a model installed in this environment, or Hugging Face."""

import os
import sys
from pathlib import Path

from vllm.exceptions import ModelError

# What a served model needs; other weight formats are not downloaded.
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]


def installed_models_folder() -> Path:
    """Where packages such as vllm-demo-model put their models."""
    return Path(sys.prefix) / "share" / "vllm" / "models"


def resolve_model(
    name: str,
    *,
    revision: str | None = None,
    download_dir: str | None = None,
    hf_token: str | bool | None = None,
) -> Path:
    """The folder that holds `name`'s config.json, downloading from Hugging Face as the last resort.

    Raises ModelError, saying what was looked for, where there is none.
    """
    if not name:
        raise ModelError(f"no model was given: name a folder, {_installed_text()}or a Hugging Face model")
    if (folder := Path(name).expanduser()).is_dir():
        return folder.resolve()
    if (installed := installed_models_folder() / name).is_dir() and _is_plain_name(name):
        return installed
    if _looks_like_path(name):
        raise ModelError(f"the model folder {name} does not exist: give a folder that holds config.json")
    return _download(name, revision, download_dir, hf_token)


def _is_plain_name(name: str) -> bool:
    return name not in (".", "..") and os.sep not in name


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.count("/") != 1


def _installed_text() -> str:
    folder = installed_models_folder()
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return f"an installed model ({', '.join(names)}) " if names else ""


def _download(name: str, revision: str | None, download_dir: str | None, token: str | bool | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(
            snapshot_download(name, revision=revision, cache_dir=download_dir, token=token, allow_patterns=_PATTERNS)
        )
    except (RepositoryNotFoundError, HFValidationError):
        cause = "Hugging Face has no such model, or it is private (give hf_token)"
    except LocalEntryNotFoundError:
        cause = "Hugging Face cannot be reached and the model is not in its cache"
    except Exception as error:  # network libraries raise their own kinds; the user needs the cause on one line
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    raise ModelError(f"model {name!r} is not a folder, and downloading it failed: {cause}")
