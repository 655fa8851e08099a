"""The model that an engine has loaded, and methods patched for a while: what reaches into private parts is here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vllm.engine.llm_engine import LLMEngine
from vllm.models.interface import Model


def model_of(engine: LLMEngine) -> Model:
    """Of a model in parts the one in this process."""
    return engine._core._runner._model


@contextmanager
def patched(owner: type, name: str, make: Any) -> Iterator[None]:
    """Within the block, `owner.name` is `make(the method)`; `owner` may inherit it."""
    original, inherited = getattr(owner, name), name not in vars(owner)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
