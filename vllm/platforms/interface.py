"""What the engine asks of a platform."""

from __future__ import annotations

import platform
import random
from abc import ABC, abstractmethod
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class PlatformEnum(Enum):
    """Kinds of devices."""

    CUDA = auto()
    ROCM = auto()
    CPU = auto()
    UNSPECIFIED = auto()


class CpuArchEnum(Enum):
    """Kinds of CPUs."""

    X86 = auto()
    ARM = auto()
    POWERPC = auto()
    S390X = auto()
    RISCV = auto()
    OTHER = auto()
    UNKNOWN = auto()


# Beginnings of what the system calls a machine.
_ARCHITECTURES = {
    "x86_64": CpuArchEnum.X86,
    "amd64": CpuArchEnum.X86,
    "aarch64": CpuArchEnum.ARM,
    "arm": CpuArchEnum.ARM,
    "ppc": CpuArchEnum.POWERPC,
    "s390x": CpuArchEnum.S390X,
    "riscv": CpuArchEnum.RISCV,
}


class DeviceCapability(NamedTuple):
    """The version of a GPU's architecture: (9, 0) is sm_90."""

    major: int
    minor: int

    def as_version_str(self) -> str:
        return f"{self.major}.{self.minor}"

    def to_int(self) -> int:
        """90 for (9, 0)."""
        return self.major * 10 + self.minor


class Platform(ABC):
    """One kind of device and its limits."""

    kind: PlatformEnum
    device_type: str  # torch's name of the device

    def is_cpu(self) -> bool:
        return self.kind is PlatformEnum.CPU

    def is_cuda(self) -> bool:
        return self.kind is PlatformEnum.CUDA

    def is_rocm(self) -> bool:
        return self.kind is PlatformEnum.ROCM

    def is_cuda_alike(self) -> bool:
        """Whether torch calls its devices "cuda"."""
        return self.is_cuda() or self.is_rocm()

    def is_xpu(self) -> bool:
        return False

    def is_tpu(self) -> bool:
        return False

    def is_unspecified(self) -> bool:
        return self.kind is PlatformEnum.UNSPECIFIED

    def is_out_of_tree(self) -> bool:
        return False

    @abstractmethod
    def prepare(self, own_process: bool = False, rank: int = 0, ranks: int = 1) -> None:
        """Makes the settings that must be made before torch is loaded. `own_process`: nothing else runs in it.

        `ranks` processes, of which this is one, compute a model together on this machine.
        """

    @abstractmethod
    def device_name(self) -> str:
        """The device as its maker names it."""

    def get_device_name(self, device_id: int = 0) -> str:
        """As `device_name`, of any of the devices."""
        return self.device_name()

    def get_device_capability(self, device_id: int = 0) -> DeviceCapability | None:
        """None for a device that has no such number."""
        return None

    def has_device_capability(self, capability: tuple[int, int] | int, device_id: int = 0) -> bool:
        """Whether the device's capability is at least this, (9, 0) or 90; False where it has none."""
        own = self.get_device_capability(device_id)
        if own is None:
            return False
        return own >= capability if isinstance(capability, tuple) else own.to_int() >= capability

    def is_device_capability(self, capability: tuple[int, int] | int, device_id: int = 0) -> bool:
        """Whether the device's capability is this very one."""
        own = self.get_device_capability(device_id)
        return own is not None and capability in (own, own.to_int())

    def is_device_capability_family(self, capability: int, device_id: int = 0) -> bool:
        """Whether the device's capability has the major number of this one: 90 for any (9, x)."""
        own = self.get_device_capability(device_id)
        return own is not None and own.major == capability // 10

    def supports_fp8(self) -> bool:
        """Whether the device itself multiplies 8-bit floats."""
        return self.is_cuda() and self.has_device_capability((8, 9))

    def fp8_dtype(self) -> torch.dtype:
        """The 8-bit float of weights and inputs, on GPUs of both makers."""
        import torch

        return torch.float8_e4m3fn

    def is_fp8_fnuz(self) -> bool:
        """Whether `fp8_dtype` is the one with 0x80 for "not a number" that AMD's older GPUs compute with."""
        return False

    def get_cpu_architecture(self) -> CpuArchEnum:
        """Of the host, as the system names it."""
        machine = platform.machine().lower()
        found = (kind for beginning, kind in _ARCHITECTURES.items() if machine.startswith(beginning))
        return next(found, CpuArchEnum.OTHER if machine else CpuArchEnum.UNKNOWN)

    def device_count(self) -> int:
        return 1

    @abstractmethod
    def free_memory(self) -> int:
        """Bytes that weights and the KV cache may still take on the device."""

    @abstractmethod
    def host_free_memory(self) -> int:
        """As `free_memory`, where models run on the CPU."""

    @abstractmethod
    def num_threads(self, rank: int = 0, ranks: int = 1) -> int:
        """Threads that kernels should use in this process, one of `ranks` on this machine."""

    def seed_everything(self, seed: int | None = None) -> None:
        """Seeds Python's, numpy's and torch's generators, of all devices; None: leaves them."""
        if seed is None:
            return
        import numpy as np
        import torch

        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
