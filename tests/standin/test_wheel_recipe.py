"""Recipes made from wheels: names, requirements, markers, tests and licences are the wheel's own."""

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from standin.builder import render
from standin.store import HERE, Unit
from standin.wheel import Wheel, console_scripts, spdx_of
from standin.wheel_recipe import WheelTable, conda_specifier, make_recipe
from support.wheels import make_wheel
from tooling.errors import UserError

TABLE = WheelTable((), {"prometheus-client": "prometheus_client", "torch": "pytorch"}, {"odd": ["odd.core"]}, ())


def recipe_of(tmp_path, *metadata, table=TABLE, name="demo", tag="py3-none-any", **wheel):
    path = make_wheel(tmp_path, name, "1.2", tag, metadata, **wheel)
    return yaml.safe_load(make_recipe(Wheel.read(path), table))


@pytest.mark.parametrize(
    ("pep440", "conda"),
    [
        (">=1.0,<2", "<2,>=1.0"),
        ("==1.*", "1.*"),
        ("==1.2.3", "==1.2.3"),
        ("===1.2.3", "==1.2.3"),
        ("~=1.4.2", ">=1.4.2,1.4.*"),
        ("~=0.1", ">=0.1,0.*"),
        ("!=3.14.1", "!=3.14.1"),
        ("", ""),
    ],
)
def test_version_specifiers(pep440, conda):
    assert conda_specifier(SpecifierSet(pep440)) == conda


def test_requirements_under_condas_names(tmp_path):
    recipe = recipe_of(
        tmp_path,
        "Requires-Python: >=3.9",
        "Requires-Dist: Prometheus-Client>=0.20",
        "Requires-Dist: torch (>=2.10)",
        "Requires-Dist: typing-extensions>=4; python_version < '3.13'",
        "Requires-Dist: tomli; python_version < '3.11'",
        "Requires-Dist: colorama; sys_platform == 'win32'",
        "Requires-Dist: pytest; extra == 'test'",
        "Requires-Dist: numpy; platform_machine == 'x86_64' and extra == 'fast'",
        "Provides-Extra: test",
    )
    assert recipe["requirements"]["run"] == [
        "python >=3.9",
        "prometheus_client >=0.20",
        "pytorch >=2.10",
        "typing-extensions >=4",
    ]


def test_extras_of_a_requirement_are_dropped(tmp_path):
    assert recipe_of(tmp_path, "Requires-Dist: uvicorn[standard]>=0.30")["requirements"]["run"][1] == "uvicorn >=0.30"


def test_pure_wheel_is_noarch(tmp_path):
    recipe = recipe_of(tmp_path, entry_points="[console_scripts]\nDemo = demo.cli:main\n[other]\nx = y\n")
    assert recipe["build"]["noarch"] == "python"
    assert recipe["build"]["python"]["entry_points"] == ["Demo = demo.cli:main"]
    assert recipe["package"] == {"name": "demo", "version": "1.2"}


def test_binary_wheel_needs_the_runtime_libraries(tmp_path):
    recipe = recipe_of(tmp_path, "Requires-Python: >=3.9", tag="cp311-cp311-manylinux_2_17_x86_64")
    assert "noarch" not in recipe["build"]
    assert recipe["requirements"] == {"run": ["python", "python_abi 3.11.* *_cp311", "libgcc", "libstdcxx"]}
    assert recipe["build"]["string"].startswith("py311h")


def test_binary_wheel_for_every_python_is_not_noarch(tmp_path):
    assert "noarch" not in recipe_of(tmp_path, tag="py3-none-manylinux2014_x86_64")["build"]


@pytest.mark.parametrize(
    ("files", "imports"),
    [
        ({"a/__init__.py": "", "b.py": "", "_c.cpython-311-x86_64-linux-gnu.so": ""}, ["a", "b"]),
        ({"_only.py": ""}, ["_only"]),
        ({"space/inner/mod.py": ""}, ["space"]),
        ({"demo.libs/libx.so.1": "", "demo/__init__.py": ""}, ["demo"]),
    ],
)
def test_modules_to_import(tmp_path, files, imports):
    assert recipe_of(tmp_path, files=files)["tests"] == [{"python": {"imports": imports, "pip_check": False}}]


def test_table_says_what_to_import(tmp_path):
    assert recipe_of(tmp_path, name="odd")["tests"][0]["python"]["imports"] == ["odd.core"]


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        (("License-Expression: MIT OR Apache-2.0",), "MIT OR Apache-2.0"),
        (("License: whatever", "Classifier: License :: OSI Approved :: BSD License"), "BSD-3-Clause"),
        (("License: Apache 2",), "Apache-2.0"),
        ((), "LicenseRef-Unknown"),
    ],
)
def test_licence(tmp_path, lines, licence):
    assert recipe_of(tmp_path, *lines)["about"]["license"] == licence


def test_several_licence_classifiers():
    assert spdx_of(["License :: OSI Approved :: MIT License", "License :: OSI Approved :: BSD License"], "") == (
        "BSD-3-Clause AND MIT"
    )


def test_console_scripts_with_extras():
    assert console_scripts("[console_scripts]\nrun = demo.cli:main [extra]\n") == ["run = demo.cli:main"]


def test_broken_wheel_is_one_line(tmp_path):
    path = make_wheel(tmp_path, "demo", "1.0")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="is not a whole wheel; delete it"):
        Wheel.read(path)


def test_unknown_key_in_the_table(tmp_path):
    (tmp_path / "wheels.yaml").write_text("roots: []\nrots: []\n")
    with pytest.raises(UserError, match="unknown key rots"):
        WheelTable.read(tmp_path / "wheels.yaml")


def test_rattler_build_accepts_what_is_made(tmp_path):
    path = make_wheel(
        tmp_path, "demo", "1.2", metadata=("Requires-Dist: x!=2.*,~=1.1", "Requires-Python: >=3.9, !=3.10.*")
    )
    recipe = make_recipe(Wheel.read(path), WheelTable.read(HERE / "wheels.yaml"))
    unit = Unit("demo", recipe, (), (path,))
    rendered = render(unit.stage(tmp_path / "staged"), unit.context).recipe.to_dict()
    assert rendered["requirements"]["run"] == ["python !=3.10.*,>=3.9", "x !=2.*,>=1.1,1.*"]
