"""What is installed in the environment that the tests run in."""

import json
import sys
from functools import cache
from pathlib import Path

import pytest

PREFIX = Path(sys.prefix)


@cache
def record(name: str) -> dict:
    """The conda record of an installed package; skips the test where it was not installed by a conda client."""
    for file in (PREFIX / "conda-meta").glob(f"{name}-*.json"):
        contents = json.loads(file.read_text())
        if contents["name"] == name:
            return contents
    pytest.skip(f"{name} is not installed as a conda package here: run this through scripts/test")


def channel_of(name: str) -> str:
    """The URL of the channel that the package came from."""
    return record(name)["url"].rsplit("/", 2)[0]
