"""What the engine asks of a platform."""

import random
from abc import ABC, abstractmethod
from enum import Enum, auto


class PlatformEnum(Enum):
    """Kinds of devices."""

    CUDA = auto()
    ROCM = auto()
    CPU = auto()
    UNSPECIFIED = auto()


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

    @abstractmethod
    def prepare(self, own_process: bool = False, rank: int = 0, ranks: int = 1) -> None:
        """Makes the settings that must be made before torch is loaded. `own_process`: nothing else runs in it.

        `ranks` processes, of which this is one, compute a model together on this machine.
        """

    @abstractmethod
    def device_name(self) -> str:
        """The device as its maker names it."""

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
