"""The layers and tensors of a loaded model, by name. What reaches into the engine's private parts is here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from vllm.engine.llm_engine import LLMEngine
from vllm.layers.replay import Replay
from vllm.layers.workspace import Workspace
from vllm.models.interface import Model


def model_of(engine: LLMEngine) -> Model:
    return engine._core._runner._model


def named_parts(part: Any, name: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """The layers and tensors that `part` consists of, as ("layers.3.mlp.down", Linear).

    A layer comes once, a tensor with each layer that has it. Buffers and recordings are no parts of a model.
    """
    seen = set() if seen is None else seen
    if isinstance(part, Tensor):
        yield name, part
        return
    if id(part) in seen or isinstance(part, (Replay, Workspace)):
        return
    seen.add(id(part))
    if isinstance(part, (list, tuple)):
        for index, each in enumerate(part):
            yield from named_parts(each, f"{name}.{index}", seen)
    elif type(part).__module__.startswith("vllm."):
        yield name, part
        for key, each in _attributes(part):
            yield from named_parts(each, f"{name}.{key.lstrip('_')}".lstrip("."), seen)


def _attributes(part: Any) -> Iterator[tuple[str, Any]]:
    names = list(getattr(part, "__dict__", ())) + list(getattr(type(part), "__slots__", ()))
    return ((name, getattr(part, name)) for name in names if hasattr(part, name))


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
