"""The tables and hand-written recipes are complete, and name no place of the internet."""

import re
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from standin import libraries, plan
from standin.builder import render
from standin.lock import lock_lines, resolve_command
from standin.store import HERE, Unit
from standin.wheel_recipe import WheelTable

TABLE = WheelTable.read(HERE / "wheels.yaml")
NO_TESTS = {"python_abi", "_openmp_mutex"}
"""Empty packages."""


def files():
    return [path for path in sorted(HERE.rglob("*")) if path.is_file() and path.suffix != ".pyc"]


def test_no_registry_is_named():
    for path in files():
        for address in re.findall(r"\b(?:https?|ftp)://[\w.-]+|\b[\w-]+\.(?:org|com|net|io)\b", path.read_text()):
            pytest.fail(f"{path} names {address}: downloads go through pip's and apt's own configuration")


def test_lock_pins_every_root():
    pinned = {canonicalize_name(pin.name) for pin in plan.pinned_wheels()}
    assert {canonicalize_name(root) for root in TABLE.roots} <= pinned
    assert "torch" not in pinned and not any(name.startswith(("nvidia", "cuda", "triton")) for name in pinned)


def test_names_of_the_recipe_are_there():
    names = set(plan.package_names())
    assert {"python", "pytorch", "libtorch", "cmake", "ninja", "libhwy", "libgomp", "pip", "setuptools"} <= names
    assert {"gcc_linux-64", "gxx_linux-64", "sysroot_linux-64", "python_abi"} <= names
    assert {"prometheus_client", "huggingface_hub", "typing_extensions", "pyyaml", "msgspec"} <= names


def test_every_library_has_its_recipe():
    for library in libraries.read_libraries(HERE / "libraries.yaml"):
        recipe = yaml.safe_load(libraries.make_recipe(library))
        assert recipe["package"]["name"] == library.name
        assert recipe["tests"] == [{"package_contents": {"files": [library.proof]}}]
        assert set(library.depends) <= set(plan.package_names())


@pytest.mark.parametrize("name", sorted(plan.hand_written()))
def test_hand_written_recipe(name, tmp_path):
    text, extra, beside = plan.hand_written()[name]
    unit = Unit(name, text, beside, (), {"version": "1.2.3"})
    recipe = render(unit.stage(tmp_path / "staged"), unit.context).recipe.to_dict()
    assert recipe["package"]["name"] == name == Path(name).name
    assert recipe["about"]["license"] and recipe["about"]["summary"]
    assert recipe.get("tests") or name in NO_TESTS
    assert set(extra) <= {"debs", "wheels", "sources", "shared", "version_of"}
    assert set(extra.get("wheels", [])) <= set(TABLE.hand_written)
    for kind in ("build", "host", "run"):
        needs = {spec.split()[0] for spec in recipe["requirements"].get(kind, [])}
        assert needs <= set(plan.package_names()), f"{name} needs what the channel lacks"


def test_compilers_are_found_by_conda_forges_macros(tmp_path):
    recipe = "schema_version: 1\npackage: {name: x, version: '1'}\nrequirements:\n  build:\n"
    recipe += "".join(f"    - ${{{{ {macro} }}}}\n" for macro in ("compiler('c')", "compiler('cxx')", "stdlib('c')"))
    build = render(Unit("x", recipe).stage(tmp_path / "x"), {}).recipe.to_dict()["requirements"]["build"]
    assert [spec.split()[0] for spec in build] == ["gcc_linux-64", "gxx_linux-64", "sysroot_linux-64"]


def test_units_take_their_inputs_from_the_debs(tmp_path):
    debs = {}
    for name in plan.deb_names():
        debs[name] = tmp_path / f"{name}_12.2.0-14+deb12u1_amd64.deb"
        debs[name].write_bytes(b"")
    units = {unit.name: unit for unit in plan.units_from_debs(debs)}
    assert units["gcc_linux-64"].context == {"version": "12.2.0"} and units["gcc_linux-64"].inputs == ()
    assert debs["python3.11"] in units["python"].inputs
    assert units["libgcc"].inputs == (debs["libgcc-s1"], debs["libatomic1"])
    assert not {"cmake", "pytorch", "libhwy"} & set(units)


def test_pip_resolves_for_the_stand_ins_python():
    command = resolve_command(("fastapi",))
    assert command[command.index("--python-version") + 1] == "3.11" and command[-1] == "fastapi"
    assert "manylinux_2_28_x86_64" in command


def test_report_becomes_lock_lines():
    item = {
        "metadata": {"name": "B_b", "version": "1"},
        "download_info": {"archive_info": {"hashes": {"sha256": "f" * 64}}},
    }
    other = {**item, "metadata": {"name": "a", "version": "2"}}
    assert [line.split(" ")[0] for line in lock_lines({"install": [item, other]})] == ["a==2", "B_b==1"]
