"""What pyproject.toml cannot say: the version, the requirements of the target device and how extensions are built."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent))
from build_support.cmake_build import cmake_build_ext, extensions
from build_support.grpc_stubs import BuildPyAndGenerateGrpc, DevelopAndGenerateGrpc
from build_support.precompiled import precompiled_build_ext, use_precompiled
from build_support.requirement_files import read_requirements
from build_support.source_archive import DeviceFreeSdist
from build_support.target_device import COMPILED, target_device
from build_support.version import build_version

try:
    device = target_device()
    version = build_version(device)
except ValueError as error:
    sys.exit(f"vllm: {error}")

setup(
    version=version,
    install_requires=read_requirements("common" if device == "empty" else device),
    ext_modules=extensions(device),
    cmdclass={
        "build_ext": precompiled_build_ext if use_precompiled() else cmake_build_ext,
        "build_py": BuildPyAndGenerateGrpc,
        "develop": DevelopAndGenerateGrpc,
        "sdist": DeviceFreeSdist,
    },
    # CPython's limited API is not even used: the wheel serves 3.10 and every later Python.
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if device in COMPILED else {},
)
