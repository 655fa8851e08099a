"""Which files a build depends on, and one digest of their contents.

A recipe depends on its own folder, on what its `source: path:` entries select and on the variant files. Ignored files
(.gitignore) do not count; untracked ones do, as they do for the build itself. No git is needed: a source archive works.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import yaml

from tooling.errors import UserError


@cache
def ignore_patterns(root: Path) -> tuple[str, ...]:
    """The patterns of the checkout's .gitignore."""
    file = root / ".gitignore"
    lines = file.read_text().splitlines() if file.exists() else []
    return (".git", *(line.strip() for line in lines if line.strip() and not line.startswith("#")))


def is_ignored(root: Path, path: str) -> bool:
    """Whether .gitignore leaves out `path`, relative to `root`. A pattern with a slash inside starts at the root."""
    name = path.rpartition("/")[2]
    for pattern in ignore_patterns(root):
        bare = pattern.rstrip("/")
        if fnmatch(path, bare.lstrip("/")) if "/" in bare else fnmatch(name, bare):
            return True
    return False


def files_under(root: Path, relative: str) -> Iterator[str]:
    """Paths, relative to `root`, of the files at or below `relative`, a path or a pattern, that are not ignored."""
    if any(character in relative for character in "*?["):
        for match in root.glob(relative):
            yield from files_under(root, match.relative_to(root).as_posix())
        return
    top = root / relative
    if top.is_file():
        yield relative
        return
    for folder, subfolders, files in os.walk(top):
        below = {name: os.path.normpath(os.path.relpath(f"{folder}/{name}", root)) for name in [*subfolders, *files]}
        subfolders[:] = [name for name in subfolders if not is_ignored(root, below[name])]
        yield from (below[name] for name in files if not is_ignored(root, below[name]))


def digest(root: Path, relatives: Iterable[str]) -> str:
    """A digest of the names and contents of everything at or below `relatives`."""
    result = hashlib.blake2b(digest_size=16)
    for path in sorted({file for relative in relatives for file in files_under(root, relative)}):
        content = (root / path).read_bytes()
        executable = os.access(root / path, os.X_OK)
        result.update(f"{path}\0{executable}\0{len(content)}\0".encode())
        result.update(content)
    return result.hexdigest()


def recipe_inputs(root: Path, recipe: str) -> list[str]:
    """Files and folders, or patterns of them, relative to `root`, that what recipes/`recipe` makes depends on."""
    folder = root / "recipes" / recipe
    file = folder / "recipe.yaml"
    try:
        contents = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    inputs = [f"recipes/{recipe}"]
    for source in _sources(contents):
        if "path" not in source:
            continue
        base = os.path.relpath((folder / source["path"]).resolve(), root)
        filters = source.get("filter") or ["**"]
        patterns = filters.get("include", ["**"]) if isinstance(filters, dict) else filters
        inputs += [os.path.normpath(f"{base}/{pattern.removesuffix('**')}") for pattern in patterns]
    return inputs


def _sources(node: object) -> Iterator[dict]:
    """Every entry of every `source:` list in a recipe, staging outputs included."""
    if isinstance(node, dict):
        source = node.get("source", [])
        yield from (entry for entry in (source if isinstance(source, list) else [source]) if isinstance(entry, dict))
        for key, value in node.items():
            if key != "source":
                yield from _sources(value)
    elif isinstance(node, list):
        for value in node:
            yield from _sources(value)
