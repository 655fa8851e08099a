"""The layers and tensors that a model consists of, by name."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from vllm.layers.replay import Replay
from vllm.layers.workspace import Workspace


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
