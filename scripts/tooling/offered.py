"""What a channel offers at its address, fetched into its folder: a release adds to a channel and takes nothing away."""

from __future__ import annotations

import hashlib
import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import get_args

from tooling.errors import UserError
from tooling.publishing import place

TIMEOUT_S = 60.0
BLOCK = 1 << 20


def keep(address: str, channel: Path) -> list[Path]:
    """Fetch every package that is offered at `address` and place it in `channel`. A site that is not there has none."""
    placed = []
    with tempfile.TemporaryDirectory() as scratch:
        for subdir in _subdirs():
            folder = f"{address.rstrip('/')}/{subdir}"
            for name, record in _records(f"{folder}/repodata.json").items():
                package = _fetch(f"{folder}/{name}", Path(scratch) / name, record["sha256"])
                placed.append(place(package, channel))
                package.unlink()
    return placed


def _subdirs() -> tuple[str, ...]:
    """Every platform that packages are for, also one that no lane is for any longer."""
    from rattler.platform import SubdirLiteral

    return get_args(SubdirLiteral)


def _records(address: str) -> dict[str, dict]:
    """The packages that an index names, by file name; none where there is no index."""
    with _opened(address) as answer:
        try:
            return json.load(answer)["packages.conda"] if answer else {}
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{address} is no channel's index: give the address that the channel is offered at"
            ) from None


def _fetch(address: str, target: Path, sha256: str) -> Path:
    """Download what is at `address` to `target`; UserError where it is not what its index says."""
    found = hashlib.sha256()
    with _opened(address) as answer, target.open("wb") as file:
        while answer and (block := answer.read(BLOCK)):
            found.update(block)
            file.write(block)
    if found.hexdigest() != sha256:
        raise UserError(f"{address} is not what its index says: publish the channel anew from packages that are sound")
    return target


@contextmanager
def _opened(address: str) -> Iterator[HTTPResponse | None]:
    """What is at `address`, or None where nothing is; any other answer is one line."""
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise UserError(f"{address} cannot be fetched: {error}; try again") from None
        yield None
    except (OSError, HTTPException) as error:
        raise UserError(f"{address} cannot be fetched: {error}; try again") from None
