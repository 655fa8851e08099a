"""Wall times of single ops, with the layer whose weights or cache they take."""

from collections import defaultdict
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vllm.models.interface import Model
from vllm.models.parts import named_parts
from vllm.profiling.trace import Recorder


class LayerNames:
    """Finds a tensor's layer by its address."""

    def __init__(self, model: Model):
        self._names: dict[int, list[str]] = defaultdict(list)
        for name, part in named_parts(model):
            if isinstance(part, Tensor) and part.data_ptr():
                self._names[part.data_ptr()].append(name.rpartition(".")[0])

    def of(self, tensors: list[Tensor]) -> str:
        """The last tensor's that belongs to one layer alone; tied weights have the names of both; else empty."""
        found = [names for tensor in tensors if (names := self._names.get(tensor.data_ptr()))]
        alone = [names[0] for names in found if len(names) == 1]
        tied = [" or ".join(names) for names in found if len(names) == 2]
        return (alone or tied or [""])[-1]


class OpTimer(TorchDispatchMode):
    """Within the block each op that is called makes a span: this package's kernels and torch's own."""

    def __init__(self, recorder: Recorder, names: LayerNames):
        super().__init__()
        self._recorder, self._names = recorder, names

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        details = {"op": str(op), "shapes": " ".join(str(list(tensor.shape)) for tensor in tensors)}
        if layer := self._names.of(tensors):
            details["layer"] = layer
        library, _, rest = str(op).partition(".")
        category = "kernel" if library.startswith("_C") else "torch"
        with self._recorder.span(rest.partition(".")[0], category, **details):
            return op(*args, **kwargs)
