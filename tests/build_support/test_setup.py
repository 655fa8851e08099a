"""setup.py driven by pip: wheels of the checkout that need no compiler, stubs of the gRPC service."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from setuptools import Distribution

from build_support import cmake_build
from build_support.cmake_build import MAY_GO, MODULES, cmake_build_ext, drop_stale_cache, extensions
from build_support.fresh_package import FreshBuildPy
from build_support.grpc_stubs import STUBS, generate_stubs
from build_support.version import stated_version
from support.checkout import ROOT

SOURCES = ("CMakeLists.txt", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py", "build_support",
           "cmake", "requirements", "vllm")  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A copy of what the package is built from, without C++ sources and without git."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so", "*_pb2*")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def pip_wheel(sources: Path, out: Path, **variables: str) -> subprocess.CompletedProcess:
    pytest.importorskip("setuptools")
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(out)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VLLM_")} | variables
    return subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True)


def test_empty_wheel_is_pure_python(sources, tmp_path):
    done = pip_wheel(sources, tmp_path, VLLM_TARGET_DEVICE="empty")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("+empty-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "vllm/grpc/vllm_engine.proto" in names
    assert not [name for name in names if name.endswith(".so") or name.startswith("build_support")]


def test_precompiled_wheel_keeps_the_extensions(sources, tmp_path):
    built = tmp_path / "vllm-0-cp310-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(built, "w") as archive:
        archive.writestr("vllm/_C.abi3.so", b"kernels")
    done = pip_wheel(sources, tmp_path / "out", VLLM_TARGET_DEVICE="cpu", VLLM_PRECOMPILED_WHEEL_LOCATION=str(built))
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    assert "+cpu-cp310-abi3-" in wheel.name
    assert zipfile.ZipFile(wheel).read("vllm/_C.abi3.so") == b"kernels"


def test_a_wheel_holds_nothing_of_the_builds_before_it(sources, tmp_path):
    """Not another device's libraries, no module that is gone since: all of them lie in one folder."""
    (sources / "vllm/gone.py").touch()
    built = tmp_path / "vllm-0-cp310-abi3-linux_x86_64.whl"
    wheels = []
    for module in ("_C", "_moe_C"):
        with zipfile.ZipFile(built, "w") as archive:
            archive.writestr(f"vllm/{module}.abi3.so", b"kernels")
        out = tmp_path / module
        done = pip_wheel(sources, out, VLLM_TARGET_DEVICE="cuda", VLLM_PRECOMPILED_WHEEL_LOCATION=str(built))
        assert done.returncode == 0, done.stderr
        (wheel,) = out.glob("*.whl")
        wheels.append({n for n in zipfile.ZipFile(wheel).namelist() if n.endswith((".so", "gone.py"))})
        (sources / "vllm/gone.py").unlink(missing_ok=True)
    assert wheels == [{"vllm/_C.abi3.so", "vllm/gone.py"}, {"vllm/_moe_C.abi3.so"}]


def test_an_sdist_is_for_every_device(sources, tmp_path):
    """So neither its name nor its metadata names the one that happened to be there."""
    command = [sys.executable, "setup.py", "-q", "sdist", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=sources, env=os.environ | {"VLLM_TARGET_DEVICE": "empty"}, capture_output=True)
    (archive,) = tmp_path.iterdir()
    assert archive.name == f"vllm-{stated_version()}.tar.gz", done.stderr
    with tarfile.open(archive) as files:
        metadata = files.extractfile(f"vllm-{stated_version()}/PKG-INFO").read().decode()
    assert f"\nVersion: {stated_version()}\n" in metadata


@pytest.mark.parametrize(
    ("variables", "command", "said"),
    [
        ({"VLLM_TARGET_DEVICE": "gpu"}, "--version", "VLLM_TARGET_DEVICE is 'gpu': set it to one of"),
        ({"VLLM_TARGET_DEVICE": "cuda", "CUDACXX": "/no/nvcc"}, "--version", "CUDACXX is '/no/nvcc', which does"),
        ({"VLLM_TARGET_DEVICE": "cpu", "CMAKE_ARGS": "-DA='b"}, "build_ext", "CMAKE_ARGS is '-DA='b' (No closing"),
        ({"VLLM_TARGET_DEVICE": "cpu", "MAX_JOBS": "²"}, "build_ext", "MAX_JOBS is '²': set it to a number of compile"),
    ],
)  # fmt: skip
def test_what_cannot_be_ends_the_build_in_one_line(sources, variables, command, said):
    if command == "build_ext" and not shutil.which("cmake"):
        pytest.skip("needs cmake")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VLLM_")} | variables
    run = [sys.executable, "setup.py", "-q", command]
    done = subprocess.run(run, cwd=sources, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(f"vllm: {said}"), done.stderr
    assert "Traceback" not in done.stderr


def test_devices_without_kernels_have_no_extensions():
    assert [extensions(device) for device in ("xpu", "tpu", "empty")] == [[], [], []]
    for names in MODULES.values():
        assert all(name.startswith("vllm.") for name in names)


def test_an_editable_installation_builds_where_the_next_one_finds_it(tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr(cmake_build, "ROOT", tmp_path)
    monkeypatch.setattr(cmake_build_ext, "_check_tools", lambda self: None)
    monkeypatch.setattr(cmake_build_ext, "_keep_defined", lambda self, build: None)
    monkeypatch.setattr(cmake_build_ext, "_call", lambda self, *command: used.append(command))
    for editable, temporary in ((True, tmp_path / "deleted"), (False, None)):
        command = cmake_build_ext(Distribution({"ext_modules": extensions("cpu")}))
        command.editable_mode, command.build_temp, command.build_lib = editable, temporary, str(tmp_path / "lib")
        monkeypatch.chdir(tmp_path)
        command.ensure_finalized()
        command.run()
    folders = {command[command.index("-B") + 1] for command in used if "-B" in command}
    (folder,) = folders
    assert folder.startswith(str(tmp_path / "build/temp.")) and not (tmp_path / "deleted").exists()


@pytest.mark.parametrize(
    "name",
    [
        "CMAKE_MAKE_PROGRAM:FILEPATH",
        "VLLM_COMPILER_CACHE_PROGRAM:FILEPATH",
        "VLLM_CUTLASS_INCLUDE_DIR:PATH",
        "VLLM_TORCH_INCLUDE_DIR:PATH",
    ],
)
def test_a_configuration_of_an_environment_that_is_gone_is_forgotten(tmp_path, name):
    cache = tmp_path / "CMakeCache.txt"
    drop_stale_cache(tmp_path)
    cache.write_text(f"// what it is\n{name}={tmp_path}\n")
    drop_stale_cache(tmp_path)
    assert cache.exists()
    cache.write_text(f"// what it is\n{name}={tmp_path}/gone\n")
    drop_stale_cache(tmp_path)
    assert not cache.exists()


def test_every_place_that_cmake_looks_for_by_a_name_of_ours_may_go():
    text = "".join(file.read_text() for file in (ROOT / "cmake").glob("*.cmake"))
    found = set(re.findall(r"find_(?:program|path|library)\((VLLM_\w+)", text))
    # Those of torch go together; Python's path is given anew every time.
    assert found - {"VLLM_TORCH_CPU_LIBRARY", "VLLM_TORCH_DEVICE_LIBRARY", "VLLM_FOUND_PYTHON"} <= set(MAY_GO)


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("ninja")), reason="needs cmake and ninja")
@pytest.mark.parametrize("change", ["nothing", "the checkout moved", "ninja came", "the compiler went"])
def test_cmake_configures_a_kept_folder_again(tmp_path, monkeypatch, change):
    """With what was compiled there, whatever changed meanwhile."""
    compiler = shutil.which("c++") or pytest.skip("there is no C++ compiler")
    root = tmp_path / "checkout"
    (root / "build/CMakeFiles/core.dir").mkdir(parents=True)
    (root / "build/CMakeFiles/core.dir/a.o").touch()
    (root / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.20)\nproject(toy LANGUAGES CXX)\n")
    (tmp_path / "c++").symlink_to(compiler)

    def configure(root: Path, generator: list[str]) -> int:
        return subprocess.run(["cmake", "-S", root, "-B", root / "build", *generator], capture_output=True).returncode

    with monkeypatch.context() as patch:
        patch.setenv("CXX", str(tmp_path / "c++") if change == "the compiler went" else compiler)
        assert configure(root, ["-G", "Unix Makefiles" if change == "ninja came" else "Ninja"]) == 0
    if change == "the checkout moved":
        root = root.rename(tmp_path / "moved")
    (tmp_path / "c++").unlink()
    drop_stale_cache(root / "build", root)
    assert (root / "build/CMakeCache.txt").exists() == (change == "nothing")
    assert configure(root, cmake_build.generator()) == 0
    assert (root / "build/CMakeFiles/core.dir/a.o").exists()


def test_cmake_is_told_of_a_cuda_compiler_that_is_not_on_path(tmp_path, monkeypatch):
    monkeypatch.setattr(cmake_build, "nvcc", lambda: "/toolkit/bin/nvcc")
    monkeypatch.setattr(cmake_build_ext, "_call", lambda self, *command: None)
    for device, told in (("cpu", None), ("cuda", "/toolkit/bin/nvcc")):
        monkeypatch.setenv("VLLM_TARGET_DEVICE", device)
        monkeypatch.setenv("CUDACXX", "")  # so that it is as before afterwards
        monkeypatch.delenv("CUDACXX")
        cmake_build_ext(Distribution())._configure(tmp_path)
        assert os.environ.get("CUDACXX") == told


def test_stubs_serve_and_call(tmp_path):
    """A server and a client of the generated stubs talk to one another."""
    pytest.importorskip("grpc_tools")
    grpc = pytest.importorskip("grpc")
    stubs = generate_stubs(tmp_path)
    assert [path.name for path in stubs] == list(STUBS)
    # Packages of their own, so that an installed vllm does not come first.
    for folder in (stubs[0].parent, stubs[0].parent.parent):
        (folder / "__init__.py").touch()
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules.pop("vllm", None)
from concurrent import futures
import grpc
from vllm.grpc import vllm_engine_pb2 as pb, vllm_engine_pb2_grpc as service
class Engine(service.VllmEngineServicer):
    def Generate(self, request, context):
        for token in request.token_ids.ids:
            yield pb.GenerateResponse(token_ids=[token + 1])
        yield pb.GenerateResponse(finish_reason=pb.FINISH_REASON_LENGTH)
server = grpc.server(futures.ThreadPoolExecutor(2))
service.add_VllmEngineServicer_to_server(Engine(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
stub = service.VllmEngineStub(grpc.insecure_channel(f"127.0.0.1:{{port}}"))
answer = stub.Generate(pb.GenerateRequest(request_id="a", token_ids=pb.TokenIds(ids=[1, 2])))
print([(list(part.token_ids), part.finish_reason) for part in answer])
server.stop(0)
"""
    assert grpc
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "[([2], 0), ([3], 0), ([], 2)]", done.stderr


def test_refused_proto_says_why(tmp_path):
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("grpcio-tools is not installed")
    (tmp_path / "vllm/grpc").mkdir(parents=True)
    (tmp_path / "vllm/grpc/vllm_engine.proto").write_text("nonsense")
    with pytest.raises(
        RuntimeError, match=r"vllm_engine\.proto was refused: .*nonsense|vllm_engine\.proto was refused"
    ):
        generate_stubs(tmp_path / "out", tmp_path)


@pytest.mark.parametrize("built", [True, False])
def test_libraries_of_the_same_command_line_are_kept(tmp_path, built):
    """`setup.py build_ext bdist_wheel`: build_ext does not run twice."""
    distribution = Distribution({"packages": []})
    distribution.have_run["build_ext"] = built
    command = FreshBuildPy(distribution)
    command.build_lib = str(tmp_path)
    command.ensure_finalized()
    library = tmp_path / "vllm" / "_C.abi3.so"
    library.parent.mkdir()
    library.touch()
    command.run()
    assert library.exists() == built
