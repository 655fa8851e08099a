"""The tool environment: made once, renamed into place, and refused in one line where it cannot be made."""

import os
import signal
import subprocess
import sys

import pytest

from support.checkout import ROOT
from support.processes import ends
from tooling import bootstrap
from tooling.installing.debs import DebError


@pytest.fixture
def requirements(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("")
    return file


def run(*arguments):
    command = [sys.executable, str(ROOT / "scripts/tooling/bootstrap.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_makes_a_working_environment_and_keeps_it(tmp_path, requirements):
    assert run(tmp_path / "tools", requirements).returncode == 0
    done = subprocess.run([tmp_path / "tools/bin/python", "-c", "import sys; print(sys.prefix)"], capture_output=True)
    assert done.stdout.decode().strip() == str(tmp_path / "tools")
    assert run(tmp_path / "tools", requirements).stderr == "", "the second run has nothing to do"


def test_changed_requirements_make_a_new_one_and_leftovers_are_removed(tmp_path, requirements):
    run(tmp_path / "tools", requirements)
    (tmp_path / "tools/old-file").write_text("")
    (tmp_path / "tools.new").mkdir()
    (tmp_path / "tools.new/half-written").write_text("")
    requirements.write_text("# changed\n")
    assert run(tmp_path / "tools", requirements).returncode == 0
    assert not (tmp_path / "tools/old-file").exists()
    assert not (tmp_path / "tools/half-written").exists()
    assert not (tmp_path / "tools.new").exists()


def test_one_whose_python_is_gone_is_made_again(tmp_path, requirements):
    """As after an upgrade of the system; a link of the same name would lead to a Python without its packages."""
    bootstrap.create_environment(tmp_path / "tools")
    assert os.path.realpath(sys.executable) in [os.readlink(p) for p in (tmp_path / "tools/bin").glob("python*")]
    (tmp_path / "tools/requirements.txt").write_text("")
    assert bootstrap.is_current(tmp_path / "tools", requirements)
    python = next(p for p in (tmp_path / "tools/bin").glob("python*") if os.path.isabs(os.readlink(p)))
    python.unlink()
    python.symlink_to("/no/longer/there")
    assert run(tmp_path / "tools", requirements).returncode == 0
    assert bootstrap.is_current(tmp_path / "tools", requirements)


def test_a_failed_installation_leaves_nothing_under_the_final_name(tmp_path, requirements):
    requirements.write_text("./no/such/folder\n")
    done = run(tmp_path / "tools", requirements)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: pip could not install {requirements}: ERROR")
    assert not (tmp_path / "tools").exists() and not (tmp_path / "tools.new").exists()


STOPPED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where the tests run without one
sys.path[0] = {scripts!r}
from tooling import bootstrap
bootstrap.pip_command = lambda environment, scratch: ["/bin/sh", "-c", "sleep 60 & echo Collecting $!; wait"]
sys.exit(bootstrap.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_installation_takes_pip_and_what_it_started_with_it(tmp_path, requirements, kind):
    """Else it would write into what the next run makes."""
    code = STOPPED.format(scripts=str(ROOT / "scripts"))
    command = [sys.executable, "-c", code, tmp_path / "tools", requirements]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    collecting = next(line for line in process.stderr if "Collecting" in line)
    process.send_signal(kind)
    said = process.communicate()[1]
    assert process.returncode == 130 and said.splitlines()[-1].startswith("stopped; "), said
    assert ends(int(collecting.split()[-1]))
    assert not (tmp_path / "tools.new").exists()


def test_no_venv_module_names_the_package_to_install(tmp_path, requirements, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "venv", None)
    assert bootstrap.main([str(tmp_path / "tools"), str(requirements)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "has no venv module" in error and "apt-get install python3-venv" in error


def test_no_pip_anywhere_names_the_package_to_install(tmp_path, requirements, monkeypatch, capsys):
    def refuse(names, folder):
        raise DebError("Unable to locate package")

    monkeypatch.setattr(bootstrap, "pip_in_wheel_folders", lambda: None)
    monkeypatch.setattr(bootstrap, "unpack", refuse)
    monkeypatch.setattr(bootstrap.sys, "executable", "/bin/false")
    assert bootstrap.main([str(tmp_path / "tools"), str(requirements)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        "cannot be fetched (Unable to locate package)" in error and "apt-get install python3-venv python3-pip" in error
    )


def test_the_checkout_is_found_whatever_cd_searches():
    """A user's CDPATH would lead `cd` to another place of the name, and let it print that."""
    environment = os.environ | {"CDPATH": str(ROOT)}
    command = ["bash", "-c", "source scripts/lib.sh; echo $root"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{ROOT.resolve()}\n"


def find_python(**variables: str) -> subprocess.CompletedProcess:
    command = ["bash", "-c", "source scripts/lib.sh; find_python"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True)


def test_the_python_that_is_named_is_taken_or_refused(tmp_path):
    python = tmp_path / "a folder/python"
    python.parent.mkdir()
    python.symlink_to(os.path.realpath(sys.executable))
    assert find_python(PYTHON=str(python)).stdout == f"{python}\n"
    refused = find_python(PYTHON=f"{python}2")
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.startswith(f"error: PYTHON is '{python}2', which is no Python 3.10 or newer: set it to")


def test_folders_and_links_among_the_scripts_are_left_alone(tmp_path):
    programs = tmp_path / "new/bin"
    (programs / "__pycache__").mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    bootstrap.point_scripts_at(tmp_path / "tools", tmp_path / "new")
    assert (programs / "python").is_symlink()


PIPS_SCRIPT = """
import sys
from pip._vendor.distlib.scripts import ScriptMaker
maker = ScriptMaker(None, sys.argv[1])
maker.executable, maker.variants = sys.argv[2], {""}
maker.make("tool = json:loads")
"""


@pytest.mark.parametrize("length", [10, 200])
@pytest.mark.parametrize("name", ["new", "new folder"])
def test_scripts_as_pip_writes_them_name_the_final_folder(tmp_path, name, length):
    """A first line that is too long, or has a space in it, becomes two."""
    new, target = (tmp_path / ("x" * length) / folder for folder in (name, "tools"))
    (new / "bin").mkdir(parents=True)
    (new / "bin/data").write_text(f"{new}/bin/python\n")
    interpreter = str(new / "bin/python") if " " not in name else f'"{new}/bin/python"'
    # In a process of its own: importing pip's parts changes what setuptools does.
    subprocess.run([sys.executable, "-c", PIPS_SCRIPT, new / "bin", interpreter], check=True)
    before = (new / "bin/tool").read_text()
    assert before.startswith("#!/bin/sh\n") == (length > 127 or " " in name)
    bootstrap.point_scripts_at(target, new)
    assert (new / "bin/tool").read_text() == before.replace(f"{new}/", f"{target}/")
    assert (new / "bin/data").read_text() == f"{new}/bin/python\n"
