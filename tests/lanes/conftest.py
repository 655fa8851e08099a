"""Tests that build or fetch for minutes: scripts/test_lanes runs them, scripts/test does not."""

import os
from pathlib import Path

import pytest

import support.checkout  # noqa: F401
from support.checkout import ROOT
from tooling.layout import Layout

SWITCH = "VLLM_TEST_LANES"


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The layout of the run that built the lanes."""
    home = os.environ.get(SWITCH)
    if not home:
        pytest.skip("takes minutes: scripts/test_lanes runs it")
    default = Layout.from_environment()
    return Layout(root=ROOT, home=Path(home), cache=default.cache)
