"""Where a model's files are: a folder, a model installed in this environment, or Hugging Face."""

import gc
import os
import sys
from pathlib import Path
from typing import Any

from vllm.exceptions import ModelError
from vllm.weight_files import indexed_names, no_weights

# What a model needs besides weights, and where that is not: a star stands for slashes, too.
_SETTINGS = {
    "allow_patterns": ["*.json", "*.jinja", "tokenizer.model", "*.txt"],
    "ignore_patterns": ["*/*.json", "*/*.txt"],
}
# Where no index names the files of weights. The last are the same weights once more, under Mistral's own names.
_ANY_WEIGHTS = {"allow_patterns": ["*.safetensors"], "ignore_patterns": ["*/*", "consolidated*.safetensors"]}


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
    """The folder that holds `name`'s config.json and tokenizer, downloading from Hugging Face as the last resort.

    Raises ModelError, saying what was looked for, where there is none.
    """
    if not name:
        raise ModelError(f"no model was given: name a folder, {_installed_text()}or a Hugging Face model")
    if (folder := _local_folder(name)) is not None:
        return folder
    if _looks_like_path(name):
        raise ModelError(f"the model folder {name} does not exist: give a folder that holds config.json")
    return _download(name, revision=revision, cache_dir=download_dir, token=hf_token, **_SETTINGS)


def download_weights(
    name: str, folder: Path, *, download_dir: str | None = None, hf_token: str | bool | None = None
) -> None:
    """Adds the weights to the folder that `resolve_model` made for `name`, unless they were always there.

    Raises ModelError where that fails, or there are none that can be read.
    """
    if _local_folder(name) is not None:
        return
    names = indexed_names(folder)
    wanted = _ANY_WEIGHTS if names is None else {"allow_patterns": names}
    # The folder's name is the commit that the other files are of.
    _download(name, revision=folder.name, cache_dir=download_dir, token=hf_token, **wanted)
    if not any(folder.glob("*.safetensors")):
        raise no_weights(f"model {name!r}", _repository_files(name, folder.name, hf_token))


def _local_folder(name: str) -> Path | None:
    if (folder := Path(name).expanduser()).is_dir():
        return folder.resolve()
    installed = installed_models_folder() / name
    return installed if _is_plain_name(name) and installed.is_dir() else None


def _is_plain_name(name: str) -> bool:
    return name not in (".", "..") and os.sep not in name


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.count("/") != 1


def _installed_text() -> str:
    folder = installed_models_folder()
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return f"an installed model ({', '.join(names)}) " if names else ""


def _download(name: str, **arguments: Any) -> Path:
    """snapshot_download; ModelError says why it failed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, **arguments))
    except (RepositoryNotFoundError, HFValidationError):
        cause = "Hugging Face has no such model, or it is private (give hf_token)"
    except LocalEntryNotFoundError:
        cause = "Hugging Face cannot be reached and the model is not in its cache"
    except Exception as error:  # network libraries raise their own kinds; the user needs the cause on one line
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    finally:
        # Offline, errors that it has caught hold one another and the frames of all callers: engines outlived their use.
        gc.collect(1)
    raise ModelError(f"model {name!r} is not a folder, and downloading it failed: {cause}")


def _repository_files(name: str, revision: str, token: str | bool | None) -> list[str]:
    from huggingface_hub import HfApi

    try:
        return HfApi(token=token).list_repo_files(name, revision=revision)
    except Exception:  # they only make a message better
        return []
