"""NVIDIA's and AMD's GPUs, found without torch and without starting CUDA: a process that forks may ask."""

import ctypes
import functools
import importlib.util
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from vllm import kernels
from vllm.platforms.cpu import CpuPlatform
from vllm.platforms.interface import DeviceCapability, PlatformEnum

_AMD_DEVICES = Path("/sys/class/drm")
_AMD_VENDOR = "0x1002"
_NVML = "libnvidia-ml.so.1"


@dataclass(frozen=True)
class Gpu:
    """A device as its driver describes it; memory in bytes."""

    name: str
    total_memory: int
    free_memory: int
    capability: DeviceCapability | None = None  # of NVIDIA's only


class GpuPlatform(CpuPlatform):
    """The GPUs that this process may see, described by the first of them; their host as on the CPU."""

    device_type = "cuda"  # torch's name for both makers' devices

    def __init__(self, kind: PlatformEnum):
        self.kind = kind

    def device_name(self) -> str:
        return self._gpus()[0].name

    def get_device_name(self, device_id: int = 0) -> str:
        return self._gpus()[device_id].name

    def get_device_capability(self, device_id: int = 0) -> DeviceCapability | None:
        """As the driver says it for NVIDIA's; AMD's does not, torch does, which starts HIP in this process."""
        if self.is_cuda():
            return self._gpus()[device_id].capability
        import torch

        return DeviceCapability(*torch.cuda.get_device_capability(device_id))

    def device_count(self) -> int:
        return len(self._gpus())

    def free_memory(self) -> int:
        return self._gpus()[0].free_memory

    def total_memory(self) -> int:
        return self._gpus()[0].total_memory

    def _gpus(self) -> list[Gpu]:
        return nvidia_gpus() if self.is_cuda() else amd_gpus()


def find_gpu() -> GpuPlatform | None:
    """A GPU, where the installed torch is built for its maker's and this package is not the CPU's build."""
    if kernels.target_device() == "cpu":
        return None
    if _torch_is_built_for("cuda") and nvidia_gpus():
        return GpuPlatform(PlatformEnum.CUDA)
    if _torch_is_built_for("hip") and amd_gpus():
        return GpuPlatform(PlatformEnum.ROCM)
    return None


def _torch_is_built_for(toolkit: str) -> bool:
    """Reads torch/version.py, which says `cuda: Optional[str] = '13.0'` or None."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return False
    return re.search(rf"^{toolkit}\b[^=\n]*=\s*['\"]", text, re.MULTILINE) is not None


def nvidia_gpus() -> list[Gpu]:
    """Those that CUDA would offer, in its order where CUDA_DEVICE_ORDER=PCI_BUS_ID or all are alike."""
    if _hidden("CUDA_VISIBLE_DEVICES"):
        return []
    library = _nvml()
    if library is None:
        return []
    # CUDA's list ends at the first device that there is not.
    handles = itertools.takewhile(bool, (_handle(library, device) for device in _visible(library)))
    return [_describe(library, handle) for handle in handles]


def amd_gpus(folder: Path = _AMD_DEVICES) -> list[Gpu]:
    """Those that the amdgpu driver lists with memory of their own.

    HIP_VISIBLE_DEVICES, or CUDA_VISIBLE_DEVICES, which HIP reads in its absence, picks among them by number.
    """
    variable = "HIP_VISIBLE_DEVICES" if "HIP_VISIBLE_DEVICES" in os.environ else "CUDA_VISIBLE_DEVICES"
    if _hidden(variable) or _hidden("ROCR_VISIBLE_DEVICES"):
        return []
    found = [gpu for card in sorted(folder.glob("card[0-9]*/device")) if (gpu := _amd_gpu(card)) is not None]
    given = os.environ.get(variable)
    numbers = [int(n) for n in given.split(",") if n.strip().isdigit()] if given else range(len(found))
    return [found[n] for n in numbers if n < len(found)]


def _amd_gpu(device: Path) -> Gpu | None:
    try:
        if (device / "vendor").read_text().strip() != _AMD_VENDOR:
            return None
        total, used = (int((device / f"mem_info_vram_{what}").read_text()) for what in ("total", "used"))
    except (OSError, ValueError):
        return None
    name = device / "product_name"
    return Gpu((name.read_text().strip() if name.exists() else "") or "AMD GPU", total, total - used)


def _hidden(variable: str) -> bool:
    """Whether the variable is set to no device at all: empty, or a list that begins with -1."""
    given = os.environ.get(variable)
    return given is not None and given.split(",")[0].strip() in ("", "-1")


# NVML, the library of the driver


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


@functools.cache
def _nvml() -> ctypes.CDLL | None:
    """The library, ready; None where there is no driver."""
    try:
        library = ctypes.CDLL(_NVML)
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


def _visible(library: ctypes.CDLL) -> list[str]:
    """Numbers or names ("GPU-...") of devices, as CUDA_VISIBLE_DEVICES gives them, or all numbers."""
    if given := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return [each.strip() for each in given.split(",")]
    return [str(n) for n in range(_count(library))]


def _count(library: ctypes.CDLL) -> int:
    count = ctypes.c_uint()
    return count.value if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 else 0


def _handle(library: ctypes.CDLL, device: str) -> ctypes.c_void_p | None:
    """Of a number, a name, or the beginning of one, which CUDA takes where only one device has it."""
    if device.isdigit():
        return _handle_by_index(library, int(device))
    handle = ctypes.c_void_p()
    if library.nvmlDeviceGetHandleByUUID(device.encode(), ctypes.byref(handle)) == 0:
        return handle
    found = [handle for n in range(_count(library)) if (handle := _handle_by_index(library, n)) is not None]
    found = [handle for handle in found if device and _name(library, handle).startswith(device)]
    return found[0] if len(found) == 1 else None


def _handle_by_index(library: ctypes.CDLL, index: int) -> ctypes.c_void_p | None:
    handle = ctypes.c_void_p()
    status = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle))
    return handle if status == 0 else None


def _name(library: ctypes.CDLL, handle: ctypes.c_void_p) -> str:
    """As CUDA_VISIBLE_DEVICES may give it: "GPU-" and 36 characters; empty where the driver does not say."""
    name = ctypes.create_string_buffer(96)
    status = library.nvmlDeviceGetUUID(handle, name, ctypes.c_uint(len(name)))
    return name.value.decode(errors="replace") if status == 0 else ""


def _describe(library: ctypes.CDLL, handle: ctypes.c_void_p) -> Gpu:
    name, memory = ctypes.create_string_buffer(96), _Memory()
    library.nvmlDeviceGetName(handle, name, ctypes.c_uint(len(name)))
    library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return Gpu(name.value.decode(errors="replace"), memory.total, memory.free, _capability(library, handle))


def _capability(library: ctypes.CDLL, handle: ctypes.c_void_p) -> DeviceCapability | None:
    major, minor = ctypes.c_int(), ctypes.c_int()
    status = library.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    return DeviceCapability(major.value, minor.value) if status == 0 else None
