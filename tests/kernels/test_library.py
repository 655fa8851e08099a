"""The built library: what it links, what it needs, how it says that it is missing."""

import json
import re
import subprocess
import sys

import pytest

from vllm import kernels
from vllm.engine import config_builder
from vllm.engine.arg_utils import EngineArgs
from vllm.engine.config_builder import build_config
from vllm.exceptions import ModelError
from vllm.kernels import LIBRARY, load
from vllm.platforms.cpu import CpuPlatform


def readelf(*options: str) -> str:
    return subprocess.run(["readelf", "-W", *options, LIBRARY], capture_output=True, text=True, check=True).stdout


def test_needs_no_python_and_only_the_stable_torch():
    needed = {name.split(".so")[0] for name in re.findall(r"NEEDED.*\[(.+)\]", readelf("-d"))}
    assert {"libtorch_cpu", "libgomp", "libhwy"} <= needed
    assert not needed & {"libpython3", "libtorch_python", "libtorch", "libc10"}
    assert not [name for name in needed if name.startswith("libpython")]


def test_torch_abi_audit_calls_it_stable():
    command = [sys.executable, "-m", "torch_abi_audit.cli", "--json", "--check", "torch", str(LIBRARY)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (library,) = json.loads(result.stdout)["bundled_libs"]
    assert library["torch"]["stable"] and library["torch"]["min_torch_version"] == "2.10.0"


def test_programs_import_it_as_a_module():
    code = "import vllm._C, torch; torch.ops._C.rms_norm; torch.ops._C_cache_ops.swap_blocks"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_is_stripped_and_has_no_build_id():
    sections = readelf("-S")
    assert ".symtab" not in sections and ".debug_info" not in sections
    assert "note.gnu.build-id" not in sections


def test_exports_no_symbols():
    defined = [
        line for line in readelf("--dyn-syms").splitlines() if " GLOBAL DEFAULT " in line and " UND " not in line
    ]
    assert [line.split()[-1] for line in defined if not line.split()[-1].startswith("_")] == []


def test_missing_library_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("vllm.kernels.LIBRARY", tmp_path / "_C.abi3.so")
    monkeypatch.setattr("vllm.kernels.TARGET_DEVICE", tmp_path / "target_device")
    load.cache_clear()
    with pytest.raises(ImportError, match=r"vllm's kernels are not built: .* is missing; install them with"):
        load()


def test_broken_library_says_why(monkeypatch, tmp_path):
    broken = tmp_path / "_C.abi3.so"
    broken.write_bytes(b"\x7fELF")
    monkeypatch.setattr("vllm.kernels.LIBRARY", broken)
    load.cache_clear()
    with pytest.raises(ImportError, match="vllm's kernels cannot be loaded"):
        load()


@pytest.mark.parametrize("device", ["empty", "tpu"])
def test_a_build_without_kernels_says_which_it_is_before_anything_is_loaded(tmp_path, monkeypatch, device):
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "_C.abi3.so")
    monkeypatch.setattr(kernels, "TARGET_DEVICE", tmp_path / "target_device")
    kernels.TARGET_DEVICE.write_text(f"{device}\n")
    with pytest.raises(ImportError, match=f"this is vllm's '{device}' build, .*: conda install 'vllm="):
        kernels.require()


def test_a_gpu_build_without_a_gpu_says_that_models_run_on_the_cpu(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(kernels, "TARGET_DEVICE", tmp_path / "target_device")
    monkeypatch.setattr(config_builder, "current_platform", CpuPlatform())
    kernels.TARGET_DEVICE.write_text("cuda\n")
    with pytest.raises(ModelError):
        build_config(EngineArgs(model=str(tmp_path)))
    assert "vllm's cuda build runs on the CPU: there is no GPU" in caplog.text
