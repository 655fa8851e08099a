"""Reads a model's weights from safetensors files, mapped into memory."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from vllm.exceptions import ModelError
from vllm.huge_pages import HugePages
from vllm.mapped_pages import MappedPages
from vllm.partition import Part
from vllm.weight_files import weight_files

_HOST = torch.device("cpu")
# Written by older tools; derived from the configuration and never needed.
_DERIVED = ("rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached", "attn.masked_bias")


class Checkpoint(ABC):
    """Where a model takes its weights from, on `device`.

    `linear_method` (vllm.quantization) reads those of linear layers; layers compute by `ops` (vllm.kernels.op_set),
    and take their parts for this rank of `group` (vllm.distributed).
    """

    linear_method: Any
    ops: Any
    group: Any

    def __init__(self, dtype: torch.dtype, device: torch.device = _HOST):
        self.dtype, self.device = dtype, device
        self.memory = HugePages()  # for what is made of weights
        self._staging = torch.empty(0, dtype=dtype)

    @abstractmethod
    def take(self, name: str, shape: tuple[int, ...], parts: Sequence[Part] = ()) -> Tensor:
        """A weight in the model's dtype, perhaps a view of the file: not to be written to. ModelError if wrong.

        `shape` is that of the whole weight; of each dimension only its part of `parts` is read and returned.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is such a weight."""

    def prefix(self, prefix: str, name: str) -> str:
        """`prefix`, or "" where the weight `name` is stored without it: so are those of a base model saved alone."""
        return "" if self.has(name) and not self.has(prefix + name) else prefix

    @abstractmethod
    def take_stored(
        self,
        name: str,
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
        parts: Sequence[Part] = (),
    ) -> Tensor:
        """A weight as the file holds it, on the host, of that shape and dtype where given. ModelError if wrong."""

    @abstractmethod
    def finish(self) -> None:
        """Raises ModelError where the files hold weights that the model did not take."""

    def stack(self, parts: list[Tensor]) -> Tensor:
        """Matrices in the model's dtype one below the other, valid until the next call.

        They are copied into one buffer that serves all layers: new memory for each would cost more than the copy.
        """
        if len(parts) == 1:
            return parts[0]
        size, columns = sum(part.numel() for part in parts), parts[0].shape[1]
        if self._staging.numel() < size:
            self._staging = torch.empty(size, dtype=self.dtype, device=self.device)
        return torch.cat(parts, out=self._staging[:size].view(-1, columns))


class SafetensorsCheckpoint(Checkpoint):
    """model.safetensors, the shards of an index, or whatever *.safetensors there are."""

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype,
        ignored: tuple[str, ...] = (),
        device: torch.device = _HOST,
    ):
        super().__init__(dtype, device)
        self._folder, self._ignored = folder, ignored
        self._files: list[Any] = []
        self._owner: dict[str, tuple[Any, Path]] = {}
        paths = weight_files(folder)
        for path in paths:
            handle = _open(path)
            self._files.append(handle)
            self._owner.update(dict.fromkeys(handle.keys(), (handle, path)))
        self._unused = set(self._owner)
        self._pages = MappedPages(paths)

    def has(self, name: str) -> bool:
        return name in self._owner

    def take(self, name: str, shape: tuple[int, ...], parts: Sequence[Part] = ()) -> Tensor:
        weight = self.take_stored(name, shape, parts=parts)
        if not weight.is_floating_point() or weight.element_size() < 2:
            path = self._owner[name][1]
            raise ModelError(f"{path}: weight {name!r} is {weight.dtype}; supported are bfloat16, float16, float32")
        return weight.to(self.device, self.dtype)

    def take_stored(
        self,
        name: str,
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
        parts: Sequence[Part] = (),
    ) -> Tensor:
        if name not in self._owner:
            raise ModelError(f"{self._folder} has no weight {name!r}: the checkpoint is incomplete or of another model")
        handle, path = self._owner[name]
        weight = handle.get_tensor(name)
        if shape is not None and tuple(weight.shape) != shape:
            given = list(weight.shape)
            raise ModelError(f"{path}: weight {name!r} has shape {given}, config.json makes it {list(shape)}")
        if dtype is not None and weight.dtype != dtype:
            raise ModelError(f"{path}: weight {name!r} is {weight.dtype}, config.json makes it {dtype}")
        self._unused.discard(name)
        self._pages.note(weight)
        return cut(weight, name, parts)

    def finish(self) -> None:
        self._pages.release()
        left = sorted(n for n in self._unused if not self._needless(n))
        if left:
            shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            raise ModelError(f"{self._folder} holds weights that this architecture does not have: {shown}")

    def _needless(self, name: str) -> bool:
        """Whether a weight may be left: AutoGPTQ, for one, writes a bias of zeros for layers that have none."""
        if name in self._ignored or name.endswith(_DERIVED):
            return True
        return name.endswith(".bias") and not self._owner[name][0].get_tensor(name).any()


class DummyCheckpoint(Checkpoint):
    """Small random weights of whatever shape is asked for (load_format="dummy"); the same every time."""

    def __init__(self, dtype: torch.dtype, device: torch.device = _HOST):
        super().__init__(dtype, device)
        self._generator = torch.Generator().manual_seed(0)

    def take(self, name: str, shape: tuple[int, ...], parts: Sequence[Part] = ()) -> Tensor:
        if len(shape) == 1 and name.endswith(".weight"):
            weight = torch.ones(shape, dtype=self.dtype)
        else:
            weight = torch.empty(shape, dtype=self.dtype).uniform_(-0.02, 0.02, generator=self._generator)
        return cut(weight, name, parts).to(self.device)

    def has(self, name: str) -> bool:
        return name.endswith((".weight", ".bias"))

    def take_stored(
        self,
        name: str,
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
        parts: Sequence[Part] = (),
    ) -> Tensor:
        raise ModelError(f"weight {name!r} cannot be made up: load_format=dummy makes weights in floating point only")

    def finish(self) -> None:
        pass


def cut(weight: Tensor, name: str, parts: Sequence[Part]) -> Tensor:
    """The view of `parts` of the weight's first dimensions; of a mapped file only what is read of it is loaded."""
    view = weight
    for dimension, part in enumerate(parts):
        try:
            start, end = part.bounds(weight.shape[dimension])
        except ValueError:
            raise ModelError(
                f"weight {name!r} of shape {list(weight.shape)} cannot be split into {part.count} equal parts: "
                "give another tensor_parallel_size"
            ) from None
        view = view.narrow(dimension, start, end - start)
    return view


def _open(path: Path) -> Any:
    """safetensors checks that header and file size agree, so a truncated file is found here."""
    try:
        return safetensors.safe_open(path, framework="pt", device="cpu")
    except (safetensors.SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} is damaged or truncated ({error}); download it again") from None
