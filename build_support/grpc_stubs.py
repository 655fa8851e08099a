"""Python stubs of vllm/grpc/vllm_engine.proto, made when the package is built and grpcio-tools is there."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from setuptools import Command
from setuptools.command.develop import develop

from build_support.fresh_package import FreshBuildPy

ROOT = Path(__file__).resolve().parent.parent
PROTO = "vllm/grpc/vllm_engine.proto"
STUBS = ("vllm_engine_pb2.py", "vllm_engine_pb2.pyi", "vllm_engine_pb2_grpc.py")


def generate_stubs(target: Path, root: Path = ROOT) -> list[Path]:
    """Write the stubs of PROTO below `target`; none where grpcio-tools is not installed.

    Raises:
        RuntimeError: the compiler refused the file; its message is in the error.
    """
    if importlib.util.find_spec("grpc_tools") is None:
        print(f"vllm: grpcio-tools is not installed, so no stubs of {PROTO} are made")
        return []
    target.mkdir(parents=True, exist_ok=True)
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", *outputs, str(root / PROTO)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{PROTO} was refused: {done.stderr.strip()}")
    return [target / Path(PROTO).parent / name for name in STUBS]


def _generate(command: Command, target: Path) -> list[Path]:
    try:
        return generate_stubs(target)
    except RuntimeError as error:
        sys.exit(f"vllm: {error}")


class BuildPyAndGenerateGrpc(FreshBuildPy):
    """build_py, then the stubs beside the copied package, or in the checkout for an editable installation."""

    def run(self) -> None:
        super().run()
        self._stubs = _generate(self, ROOT if self.editable_mode else Path(self.build_lib))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return super().get_outputs(include_bytecode) + [str(path) for path in getattr(self, "_stubs", [])]


class DevelopAndGenerateGrpc(develop):
    """`setup.py develop`, with the stubs in the checkout."""

    def run(self) -> None:
        _generate(self, ROOT)
        super().run()
