"""A GPU is found by its driver and by what torch was built for, and only where both are there."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from vllm import kernels
from vllm.platforms import CpuArchEnum, PlatformEnum, gpu
from vllm.platforms.cpu import CpuPlatform
from vllm.platforms.gpu import Gpu, amd_gpus, find_gpu, nvidia_gpus

GIB = 2**30


@pytest.fixture(autouse=True)
def everything_visible(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def torch_for(tmp_path, monkeypatch):
    """Makes the installed torch one that is built for this toolkit."""

    def install(toolkit: str) -> None:
        lines = [f"{name}: Optional[str] = {'13.0' if name == toolkit else None!r}" for name in ("cuda", "hip")]
        (tmp_path / "version.py").write_text("\n".join(lines).replace("= 13.0", "= '13.0'"))
        spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: spec)

    return install


class Nvml:
    """The driver's library with two devices."""

    names = (b"NVIDIA A", b"NVIDIA B")
    uuids = (b"GPU-a1", b"GPU-b")

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = len(self.names)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = index.value + 1
        return 0 if index.value < len(self.names) else 2

    def nvmlDeviceGetHandleByUUID(self, name, handle):
        handle._obj.value = self.uuids.index(name) + 1 if name in self.uuids else 0
        return 0 if name in self.uuids else 2

    def nvmlDeviceGetUUID(self, handle, uuid, size):
        uuid.value = self.uuids[handle.value - 1]
        return 0

    def nvmlDeviceGetName(self, handle, name, size):
        name.value = self.names[handle.value - 1]
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj.total, memory._obj.free = 80 * GIB, 70 * GIB
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, handle, major, minor):
        major._obj.value, minor._obj.value = 7 + handle.value, 6
        return 0


@pytest.fixture
def nvidia_driver(monkeypatch):
    monkeypatch.setattr(gpu, "_nvml", Nvml)


def amd_card(folder, number: int, vendor: str = "0x1002", name: str | None = "AMD X") -> None:
    device = folder / f"card{number}" / "device"
    device.mkdir(parents=True)
    (device / "vendor").write_text(vendor + "\n")
    (device / "mem_info_vram_total").write_text(str(64 * GIB))
    (device / "mem_info_vram_used").write_text(str(GIB))
    if name is not None:
        (device / "product_name").write_text(name + "\n")


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA A", "NVIDIA B"]),
        ("1,0", ["NVIDIA B", "NVIDIA A"]),
        ("GPU-b", ["NVIDIA B"]),
        ("GPU-a", ["NVIDIA A"]),  # the beginning of a name
        ("GPU-b, 0", ["NVIDIA B", "NVIDIA A"]),
        ("GPU-", []),  # of more than one
        ("1,-1,0", ["NVIDIA B"]),  # CUDA looks no further
        ("GPU-c,0", []),
        ("7", []),
        ("", []),
        ("-1", []),
    ],
)
def test_nvidia(nvidia_driver, monkeypatch, visible, names):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    capabilities = {"NVIDIA A": (8, 6), "NVIDIA B": (9, 6)}
    assert nvidia_gpus() == [Gpu(name, 80 * GIB, 70 * GIB, capabilities[name]) for name in names]


def test_amd(tmp_path, monkeypatch):
    amd_card(tmp_path, 0)
    amd_card(tmp_path, 1, vendor="0x8086")
    amd_card(tmp_path, 2, name=None)
    assert amd_gpus(tmp_path) == [Gpu("AMD X", 64 * GIB, 63 * GIB), Gpu("AMD GPU", 64 * GIB, 63 * GIB)]
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1,5")
    assert [each.name for each in amd_gpus(tmp_path)] == ["AMD GPU"]
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    assert amd_gpus(tmp_path) == []
    monkeypatch.delenv("HIP_VISIBLE_DEVICES")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [each.name for each in amd_gpus(tmp_path)] == ["AMD GPU"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert amd_gpus(tmp_path) == []


def test_the_platform_is_what_torch_can_use(nvidia_driver, torch_for, tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "TARGET_DEVICE", tmp_path / "target_device")
    torch_for("cuda")
    found = find_gpu()
    assert found.kind is PlatformEnum.CUDA
    assert found.device_type == "cuda"
    assert (found.device_name(), found.total_memory(), found.free_memory()) == ("NVIDIA A", 80 * GIB, 70 * GIB)
    assert found.get_device_name(1) == "NVIDIA B" and found.is_cuda_alike()
    assert found.get_device_capability().as_version_str() == "8.6"
    assert [found.has_device_capability(least) for least in (80, 87, (8, 6), (9, 0))] == [True, False, True, False]
    assert found.has_device_capability((9, 0), device_id=1)
    assert [found.is_device_capability(only) for only in (86, (8, 6), 80, (8, 0))] == [True, True, False, False]
    assert found.is_device_capability_family(80) and not found.is_device_capability_family(90)
    assert found.device_count() == 2 and not found.supports_fp8()
    torch_for("hip")
    monkeypatch.setattr(gpu, "amd_gpus", lambda: [])
    assert find_gpu() is None
    monkeypatch.setattr(gpu, "amd_gpus", lambda: [Gpu("AMD X", 2, 1)])
    assert find_gpu().kind is PlatformEnum.ROCM
    kernels.TARGET_DEVICE.write_text("cpu\n")
    assert find_gpu() is None


def test_without_a_gpu_or_a_torch_for_it_the_platform_is_the_cpu(torch_for, monkeypatch):
    monkeypatch.setattr(gpu, "_nvml", lambda: None)
    torch_for("cuda")
    assert find_gpu() is None
    monkeypatch.setattr(gpu, "_nvml", Nvml)
    torch_for("neither")
    assert find_gpu() is None


def test_detection_loads_no_torch():
    code = "import sys; from vllm.platforms.gpu import find_gpu; find_gpu(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cpu_has_a_name_and_no_capability():
    cpu = CpuPlatform()
    assert cpu.get_device_name() == cpu.device_name()
    assert cpu.get_device_capability() is None and not cpu.has_device_capability(80)
    assert not any((cpu.is_cuda_alike(), cpu.is_xpu(), cpu.is_tpu(), cpu.is_out_of_tree(), cpu.is_unspecified()))
    assert not any((cpu.is_device_capability(90), cpu.is_device_capability_family(90), cpu.supports_fp8()))
    assert (cpu.device_count(), cpu.fp8_dtype(), cpu.is_fp8_fnuz()) == (1, torch.float8_e4m3fn, False)


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        ("x86_64", "X86"),
        ("AMD64", "X86"),
        ("aarch64", "ARM"),
        ("ppc64le", "POWERPC"),
        ("sparc", "OTHER"),
        ("", "UNKNOWN"),
    ],
)
def test_kinds_of_cpus(machine, kind, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert CpuPlatform().get_cpu_architecture() is CpuArchEnum[kind]
