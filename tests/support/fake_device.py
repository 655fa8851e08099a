"""A device that exists in name only: over fake tensors, work on it runs anywhere and computes nothing."""

import functools

import pytest
import torch.utils.backend_registration as backends

NAME = "fakegpu"


@functools.cache
def register() -> str:
    """The device's name for torch. Skips where torch cannot be taught one from Python."""
    setup = getattr(backends, "_setup_privateuseone_for_python_backend", None)
    if setup is None:
        pytest.skip("this torch has no devices made in Python (backend_registration): fake tensors need one")
    setup(NAME)
    return NAME
