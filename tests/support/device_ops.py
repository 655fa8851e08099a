"""The ops of the device kernels as tests/device calls them, with tensors of the CPU: over the emulator or on a device.

VLLM_DEVICE_TESTS names the device ("cuda"); unset, it is the emulator. On a device each op gets copies there of the
tensors' whole memory, with the same strides, offsets and overlaps, and what it wrote comes back. "cpu" does all that
over the emulator, to try it.

With the arguments of its first call that succeeds in a process, each op is shown to torch.library.opcheck, too.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from support import device_emulator, kernel_inputs
from vllm import kernels
from vllm.kernels import companion, flashmla, rocm, sparse, wna16
from vllm.vllm_flash_attn import flash_attn_interface

DEVICE = os.environ.get("VLLM_DEVICE_TESTS")
EMULATED = DEVICE in (None, "cpu")
MODULES = {
    "_moe_C": "_moe_C",
    "_rocm_C": "_rocm_C",
    "_flashmla_C": "_flashmla_C",
    "_deepgemm_C": "deep_gemm/_deepgemm_C",
    "_flashinfer_C": "flashinfer/_flashinfer_C",
    "_vllm_fa2_C": "vllm_flash_attn/_vllm_fa2_C",
    "_vllm_fa3_C": "vllm_flash_attn/_vllm_fa3_C",
}
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
FAKES = {
    "_C": (wna16.register_fakes, sparse.register_fakes),
    "_rocm_C": (rocm.register_fakes,),
    "_flashmla_C": (flashmla.register_fakes,),
    "_vllm_fa2_C": (flash_attn_interface.register_fakes,),
    "_vllm_fa3_C": (flash_attn_interface.register_fakes,),
}
UNCHECKED = {  # namespaces and ops
    "_C_custom_ar": "handles of what several processes do together",
    "_C_cuda_utils": "numbers, no tensors",
    # Schemas are upstream's, which do not say
    "moe_sum": "that output is written",
    "moe_wna16_gemm": "that an argument is the result",
    "weak_ref_tensor": "that the result is the argument's memory",
    "paged_attention": "that exp_sums, max_logits and tmp_out are written",
}
HOST_ARGUMENTS = {("swap_blocks", "block_mapping")}  # that ops take in the host's memory


class Ops:
    """``Ops("_C").rms_norm``, or its ``.default``, is the op: looked up when it is called, with tensors of the CPU."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __getattr__(self, name: str) -> Callable[..., object]:
        call = functools.partial(_call, self.namespace, name)
        call.default = call
        return call


def namespace_of(namespace: str) -> str:
    """What the ops of a namespace are registered under; skips the test where they are not installed."""
    if EMULATED:
        device_emulator.load()
        return f"{namespace}_emulated"
    kernels.load()
    if namespace in MODULES and (problem := companion.problem(MODULES[namespace], namespace)):
        pytest.skip(problem)
    return namespace


def overload(namespace: str, name: str) -> torch._ops.OpOverload:
    found = getattr(getattr(torch.ops, namespace_of(namespace)), name, None)
    if found is None:
        pytest.skip(f"this build of vllm has no {namespace}::{name}")
    return found.default


@functools.cache
def _add_fakes(namespace: str) -> None:
    """Registers the fakes of an emulated namespace; a real one has them."""
    for register in FAKES.get(namespace, ()):
        register(namespace_of(namespace))


def _check(namespace: str, op: torch._ops.OpOverload, arguments: tuple) -> None:
    """torch.library.opcheck, once in a process for an op's calls with 8-bit floats and once for those without."""
    if EMULATED:
        _add_fakes(namespace)
    parts = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    if _in_fp8(arguments):
        parts = ["test_faketensor"]  # the others compare tensors, which torch cannot do in fp8
    elif op._schema.is_mutable and op._schema.returns:
        parts.remove("test_aot_dispatch_dynamic")  # torch functionalises ops that write or return, not both
    torch.library.opcheck(op, arguments, test_utils=parts)
    _checked.add((op, _in_fp8(arguments)))


def _in_fp8(arguments: tuple) -> bool:
    return any(isinstance(value, Tensor) and value.dtype in FP8 for value in arguments)


def needs_emulator() -> None:
    """Skips what tests the emulator, or needs devices to be processes that share the tensors' own memory."""
    if DEVICE is not None:
        pytest.skip("of the emulator alone")


def needs_device() -> None:
    """Skips what tests a device's driver or runtime."""
    if EMULATED:
        pytest.skip("of a device alone")


def needs_absence(namespace: str) -> None:
    """Skips what tests how a module that is not installed is missed."""
    if companion.problem(MODULES[namespace], namespace) is None:
        pytest.skip(f"{namespace} is installed")


def _call(namespace: str, name: str, *arguments: object) -> object:
    op = overload(namespace, name)
    unseen = None
    if not {namespace, name} & UNCHECKED.keys() and (op, _in_fp8(arguments)) not in _checked:
        unseen = _Memory(DEVICE or "cpu").arguments(op, arguments)  # before the op writes what it would write again
    if DEVICE is None:
        found = op(*arguments)
    else:
        _called.add(f"{namespace}::{name}")
        memory = _Memory(DEVICE)
        found = op(*memory.arguments(op, arguments))
        memory.bring_back()
        found = pytree.tree_map_only(Tensor, memory.at_home, found)
    if unseen is not None:
        _check(namespace, op, unseen)
    return found


class _Memory:
    """Copies on a device of the memory of tensors."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}  # of a storage: its bytes, their copy
        self._home = torch.device("cpu")  # where the caller's tensors are: there already, of the engine on a device

    def arguments(self, op: torch._ops.OpOverload, given: tuple) -> tuple:
        names = [argument.name for argument in op._schema.arguments]
        return tuple(
            value if (op._schema.name.split("::")[1], name) in HOST_ARGUMENTS else self._moved(value)
            for name, value in zip(names, given, strict=False)
        )

    def _moved(self, value: object) -> object:
        return pytree.tree_map_only(Tensor, self._copy, value)

    def _copy(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._copies:
            self._home = tensor.device
            here = torch.empty(0, dtype=torch.uint8, device=self._home).set_(storage)
            self._copies[storage._cdata] = here, here.to(self._device, copy=True)
        there = self._copies[storage._cdata][1].untyped_storage()
        empty = torch.empty(0, dtype=tensor.dtype, device=self._device)
        return empty.set_(there, tensor.storage_offset(), tensor.size(), tensor.stride())

    def bring_back(self) -> None:
        """Waits for the op, and writes what it wrote to the tensors that it was called with."""
        for here, there in self._copies.values():
            here.copy_(there)

    def at_home(self, found: Tensor) -> Tensor:
        """A result of the op: where it lies in memory that the op was given, in that memory."""
        storage = found.untyped_storage()
        for here, there in self._copies.values():
            if there.untyped_storage()._cdata == storage._cdata:
                empty = torch.empty(0, dtype=found.dtype, device=self._home)
                return empty.set_(here.untyped_storage(), found.storage_offset(), found.size(), found.stride())
        return found.to(self._home)


_called: set[str] = set()  # since the test began
_checked: set[tuple[torch._ops.OpOverload, bool]] = set()


class Report:
    """What a run on a device has shown: of each op how many tests called it and failed, and how close results came."""

    def __init__(self) -> None:
        self.ops: dict[str, dict[str, float]] = {}

    @contextlib.contextmanager
    def test(self) -> Iterator[Callable[[], None]]:
        """Around a test; call what it gives where the test passed."""
        _called.clear()
        shares: list[float] = []
        passed = []
        kernel_inputs.observers.append(shares.append)
        try:
            yield lambda: passed.append(True)
        finally:
            kernel_inputs.observers.remove(shares.append)
            for op in _called:
                row = self.ops.setdefault(op, {"tests": 0, "failed": 0, "share": 0.0})
                row["tests"] += 1
                row["failed"] += not passed
                row["share"] = max([row["share"], *shares])

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.ops))
