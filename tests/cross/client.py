"""The host's side of runner/main.cpp: kernels of a library built for another CPU, called on torch's tensors."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

# c10::ScalarType numbers, which the runner uses too.
DTYPES = {
    torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4, torch.float16: 5,
    torch.float32: 6, torch.float64: 7, torch.bool: 11, torch.bfloat16: 15, torch.float8_e5m2: 23,
    torch.float8_e4m3fn: 24,
}  # fmt: skip
DTYPE_OF_CODE = {code: dtype for dtype, code in DTYPES.items()}
SCALAR_KINDS = {"int": b"I", "float": b"D", "bool": b"B", "str": b"S", "Tensor": b"T", "List[int]": b"L"}


LARGEST_CALL = 512 << 20
"""Bytes of tensors that a call may copy; more would take minutes in an emulator."""


class CallTooLarge(ValueError):
    """A call's tensors lie in more memory than is copied."""


class RunnerDied(RuntimeError):
    """The emulated process ended in the middle of a call: an illegal instruction, most likely."""


@dataclass(frozen=True)
class Operator:
    """An op that the library registered, and what its schema says of arguments and results."""

    name: str
    arguments: tuple[tuple[bytes, bool], ...]
    """Kind and whether it is optional."""
    defaults: tuple[object, ...]
    """One an argument; torch leaves trailing arguments out that equal theirs."""
    results: bytes

    @classmethod
    def parse(cls, schema: str) -> Operator:
        parsed = torch._C.parse_schema(schema)

        def kind(annotation: str) -> tuple[bytes, bool]:
            inner = annotation.removeprefix("Optional[").removesuffix("]") if "Optional[" in annotation else annotation
            return SCALAR_KINDS[inner], inner != annotation

        arguments = tuple(kind(argument.type.annotation_str) for argument in parsed.arguments)
        defaults = tuple(argument.default_value for argument in parsed.arguments)
        return cls(parsed.name, arguments, defaults, b"".join(kind(r.type.annotation_str)[0] for r in parsed.returns))


class Runner:
    """A running kernel_runner. Calls copy the tensors' memory there and back: tensors that share memory share it there.

    Attributes:
        schemas: every schema that the library registered, with its namespace.
        implementations: (op, dispatch key) of each registered kernel.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._from: BinaryIO = self._process.stdout
        self._swaps = bool(self._unpack("<B")) == (sys.byteorder == "little")
        self.schemas = [self._text() for _ in range(self._unpack("<I"))]
        self.implementations = [(self._text(), self._text()) for _ in range(self._unpack("<I"))]
        self._operators = {op.name: op for op in map(Operator.parse, self.schemas)}

    def call(self, name: str, arguments: Sequence[object]) -> object:
        """Call op `name`; raises RuntimeError with the kernel's own message where it throws."""
        operator = self._operators[name]
        storages = _Storages()
        arguments = [*arguments, *operator.defaults[len(arguments) :]]
        encoded = [_encode(value, *kind, storages) for value, kind in zip(arguments, operator.arguments, strict=True)]
        if storages.bytes > LARGEST_CALL:
            raise CallTooLarge(f"{name}: the tensors lie in {storages.bytes >> 20} MiB of memory, too much to copy")
        parts = [struct.pack("<I", torch.get_num_threads()), _text_bytes(name), *storages.encoded(self._swaps),
                 struct.pack("<I", len(encoded)), *encoded, _text_bytes(operator.results)]  # fmt: skip
        try:
            for part in parts:
                self._process.stdin.write(part)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        if self._unpack("<B"):
            raise RuntimeError(self._text())
        for memory, element_size in storages.items():
            self._read_elements(memory, element_size)
        results = [self._result(chr(kind)) for kind in operator.results]
        return results[0] if len(results) == 1 else tuple(results) if results else None

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def _result(self, kind: str) -> object:
        if kind == "T":
            dtype = DTYPE_OF_CODE[self._unpack("<i")]
            tensor = torch.empty([self._unpack("<q") for _ in range(self._unpack("<I"))], dtype=dtype)
            self._read_elements(_memory(tensor.untyped_storage()), tensor.element_size())
            return tensor
        if kind == "S":
            return self._text()
        return self._unpack({"I": "<q", "D": "<d", "B": "<Q"}[kind])

    def _read_elements(self, memory: memoryview, element_size: int) -> None:
        self._read_into(memory)
        if self._swaps:
            memory[:] = _swapped(memory, element_size)

    def _read_into(self, memory: memoryview) -> None:
        done = 0
        while done < len(memory):
            got = self._from.readinto(memory[done:])
            if not got:
                raise self._death()
            done += got

    def _unpack(self, layout: str) -> int | float:
        data = bytearray(struct.calcsize(layout))
        self._read_into(memoryview(data))
        return struct.unpack(layout, data)[0]

    def _text(self) -> str:
        data = bytearray(self._unpack("<I"))
        self._read_into(memoryview(data))
        return data.decode()

    def _death(self) -> RunnerDied:
        status = self._process.wait(timeout=60)
        return RunnerDied(f"{' '.join(self._command)} ended with status {status}")


class _Storages:
    """The distinct memories behind a call's tensors, in the order of their first use."""

    def __init__(self) -> None:
        self.memories: list[memoryview] = []
        self._element_sizes: list[int] = []
        self._index: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        return sum(map(len, self.memories))

    def add(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        key = storage.data_ptr() or -1 - len(self.memories)
        if key not in self._index:
            self._index[key] = len(self.memories)
            self.memories.append(_memory(storage))
            self._element_sizes.append(tensor.element_size())
        index = self._index[key]
        if self._element_sizes[index] != tensor.element_size():
            raise ValueError("tensors of different element sizes share memory: their byte order is ambiguous")
        return index

    def items(self) -> list[tuple[memoryview, int]]:
        """Each memory with the size of its elements."""
        return list(zip(self.memories, self._element_sizes, strict=True))

    def encoded(self, swaps: bool) -> list[bytes | memoryview]:
        parts: list[bytes | memoryview] = [struct.pack("<I", len(self.memories))]
        for memory, size in self.items():
            parts += [struct.pack("<Q", len(memory)), _swapped(memory, size) if swaps else memory]
        return parts


def _swapped(memory: memoryview, element_size: int) -> bytes:
    """The elements with their bytes reversed; what is left over at the end of the memory as it is."""
    whole = len(memory) // element_size * element_size
    elements = np.frombuffer(memory[:whole], dtype=f"u{element_size}")
    return elements.byteswap().tobytes() + bytes(memory[whole:])


def _memory(storage: torch.UntypedStorage) -> memoryview:
    count = storage.nbytes()
    if count == 0:
        return memoryview(bytearray())
    return memoryview((ctypes.c_char * count).from_address(storage.data_ptr())).cast("B")


def _text_bytes(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<I", len(data)) + data


def _integers(values: Sequence[int]) -> bytes:
    return struct.pack(f"<I{len(values)}q", len(values), *values)


def _encode(value: object, kind: bytes, optional: bool, storages: _Storages) -> bytes:
    if value is None:
        return bytes([optional]) + b"N"
    head = bytes([optional]) + kind
    if isinstance(value, Tensor):
        offset = value.storage_offset() * value.element_size()
        place = struct.pack("<IQi", storages.add(value), offset, DTYPES[value.dtype])
        return head + place + _integers(value.shape) + _integers(value.stride())
    if kind == b"L":
        return head + _integers(value)
    if kind == b"S":
        return head + _text_bytes(value)
    return head + struct.pack({b"I": "<q", b"D": "<d", b"B": "<B"}[kind], value)
