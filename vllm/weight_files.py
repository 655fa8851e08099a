"""Which files of a model hold its weights. No torch here."""

from collections.abc import Iterable
from pathlib import Path

from vllm.exceptions import ModelError
from vllm.hf_config import read_json

_INDEX = "model.safetensors.index.json"


def weight_files(folder: Path) -> list[Path]:
    """The shards of an index, model.safetensors, or any *.safetensors. ModelError where one or all are missing."""
    names = indexed_names(folder)
    if names is not None:
        return _indexed_files(folder, names)
    single = folder / "model.safetensors"
    files = [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise no_weights(str(folder), (path.name for path in folder.iterdir()))
    return files


def indexed_names(folder: Path) -> list[str] | None:
    """The files that the index names; None where there is none."""
    if not (folder / _INDEX).exists():
        return None
    mapping = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        raise ModelError(f"{folder / _INDEX} has no weight_map from names to files; download it again")
    return sorted(set(mapping.values()))


def no_weights(model: str, names: Iterable[str]) -> ModelError:
    """The refusal of a model that has only files of these names."""
    others = sorted(name for name in names if name.endswith(".bin") and "/" not in name)
    found = f"; it has {others[0]}, which can run code and is not read: convert it" if others else ""
    return ModelError(f"{model} has no *.safetensors file{found}")


def _indexed_files(folder: Path, names: list[str]) -> list[Path]:
    files = [folder / name for name in names]
    for path in files:
        if path.parent != folder or not path.exists():
            raise ModelError(f"{path}, which {_INDEX} names, does not exist: download the missing shard")
    return files
