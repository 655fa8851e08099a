"""Two families of kernels, built for aarch64 and tested under an emulator; scripts/test_cross does all of them."""

import os
import sys
from pathlib import Path

import pytest

import support.checkout  # noqa: F401
from tooling.cross import targets
from tooling.cross.building import Build
from tooling.cross.running import run_tests
from tooling.cross.toolchain import ensure_compiler, ensure_emulator
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.progress import Progress

FAMILIES = ("activation", "norm")


@pytest.fixture(scope="module")
def progress(tmp_path_factory):
    return Progress(tmp_path_factory.mktemp("cross") / "log")


@pytest.fixture(scope="module")
def aarch64(progress):
    layout = Layout.from_environment()
    ((target, cpu),) = targets.select(["aarch64:neon"])
    try:
        compiler, emulator = ensure_compiler(layout, target, progress), ensure_emulator(layout, target, progress)
    except UserError as error:
        pytest.skip(str(error))
    build = Build(layout, progress, target, compiler, Path(sys.executable), dict(os.environ), cpu, FAMILIES)
    build.run()
    return build, emulator


@pytest.mark.parametrize("name", ["neon", "sve256"])
def test_kernels_of_another_cpu(aarch64, progress, name):
    ((_, cpu),) = targets.select([f"aarch64:{name}"])
    files = [f"tests/kernels/test_{family}.py" for family in FAMILIES]
    with progress.step(name) as step:
        result = run_tests(*aarch64, cpu, files, step)
    assert result.failed == 0 and result.passed > 20


def test_selection():
    assert len(targets.select([])) == len({(t.arch, c.name) for t, c in targets.select([])})
    assert [c.name for _, c in targets.select(["ppc64le", "ppc64le:power9"])] == ["power8", "power9", "power10"]
    with pytest.raises(
        UserError, match="unknown CPU 'mips': choose from aarch64, ppc64le, s390x, x86_64, aarch64:neon"
    ):
        targets.select(["mips"])
