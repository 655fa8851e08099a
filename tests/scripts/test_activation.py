"""Commands inside an environment: its own programs and modules, and bytecode that is kept."""

import subprocess
import sys
from pathlib import Path

from tooling.installing.activation import variables


def test_modules_come_from_the_environment_and_are_compiled_once(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/only_there.py").write_text("")
    (tmp_path / "module.py").write_text("value = 7")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    environment = variables(Path(sys.prefix))

    def python(code: str) -> int:
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).returncode

    assert python("import module; assert module.value == 7") == 0
    assert len(list((tmp_path / "__pycache__").glob("module.*.pyc"))) == 1
    assert python("import only_there") == 1


def test_programs_of_the_environment_come_first(tmp_path):
    environment = variables(tmp_path / "env")
    assert environment["PATH"].split(":")[0] == str(tmp_path / "env/bin")
    assert (environment["CONDA_PREFIX"], environment["CONDA_DEFAULT_ENV"]) == (str(tmp_path / "env"), "env")
