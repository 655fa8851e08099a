"""Bytecode in packages: of which modules, for which Python, and that it holds whatever times installing gives files."""

import os
import subprocess
import sys

import pytest

from standin.store import SHARED

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def site(tmp_path):
    """An environment's modules: one that compiles, one that does not, one that names the environment."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "fine.py").write_text("answer = 42\n")
    (folder / "newer.py").write_text("def f(:\n")
    (folder / "config.py").write_text(f"prefix = {str(tmp_path)!r}\n")
    return folder


def compile_bytecode(site, python=THIS):
    script = SHARED / "compile_bytecode.py"
    subprocess.run([sys.executable, script, site, site.parent, python], check=True)


def test_what_installing_changes_is_not_compiled(site):
    compile_bytecode(site)
    assert [file.name.partition(".")[0] for file in site.glob("__pycache__/*")] == ["fine"]


def test_bytecode_holds_under_other_times(site):
    compile_bytecode(site)
    (compiled,) = site.glob("__pycache__/*.pyc")
    before = compiled.read_bytes()
    os.utime(site / "fine.py", (1e9, 1e9))
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    code = "import fine; print(fine.answer, fine.__cached__)"
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["42", str(compiled)]
    assert compiled.read_bytes() == before, "Python wrote it anew"
    assert str(site.parent).encode() not in before


def test_another_python_is_left_to_itself(site):
    compile_bytecode(site, "3.1")
    assert not (site / "__pycache__").exists()
