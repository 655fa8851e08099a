"""The recipe, requirements/ and the installed package name the same dependencies."""

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement

from support.checkout import ROOT
from tooling.planning.recipes import render

CONDA_NAMES = {"torch": "pytorch", "setuptools_scm": "setuptools-scm"}
"""Packages that conda-forge calls otherwise than PyPI does."""


def conda_spec(requirement: Requirement) -> str:
    """The match spec of a pip requirement, as recipes write it."""
    name = requirement.name.lower().replace("-", "_")
    return f"{CONDA_NAMES.get(name, name)} {requirement.specifier}".strip()


def requirements(name: str) -> set[str]:
    """Match specs of requirements/`name`.txt and of the files that it includes."""
    specs = set()
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            specs |= requirements(line.removeprefix("-r ").removesuffix(".txt"))
        elif line:
            specs.add(conda_spec(Requirement(line)))
    return specs


def specs_of(section: str) -> set[str]:
    return {spec for output in render(ROOT, "vllm", "cpu") for spec in output.requirements[section]}


def test_recipe_runs_on_what_requirements_cpu_names():
    assert {spec for spec in specs_of("run") if not spec.startswith(("python ", "__"))} == requirements("cpu")


@pytest.mark.parametrize("device", ["cuda", "rocm", "xpu", "tpu"])
def test_devices_differ_by_their_torch_alone(device):
    assert requirements(device) == requirements("cpu")


def test_every_requirements_file_can_be_read():
    for file in (ROOT / "requirements").glob("*.txt"):
        assert requirements(file.stem), file


def test_version_is_stated_alike():
    stated = re.search(r'__version__ = "(.+)"', (ROOT / "vllm/version.py").read_text()).group(1)
    (recipe,) = re.findall(r'^  version: "(.+)"$', (ROOT / "recipes/vllm/recipe.yaml").read_text(), re.MULTILINE)
    assert stated == recipe == importlib.metadata.version("vllm")


def test_tools_and_tests_pin_the_same_versions():
    """Two files that name a package name the same version of it."""
    seen: dict[str, str] = {}
    for name in ("lint", "test", "tools"):
        for spec in requirements(name):
            package, _, version = spec.partition(" ")
            if version.startswith("=="):
                assert seen.setdefault(package, version) == version, f"requirements/{name}.txt: {spec}"


@pytest.mark.parametrize("name", ["test", "tools"])
def test_a_package_with_wheels_for_x86_64_only_is_asked_for_there_only(name):
    """Other machines would need a Rust compiler for it."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    (requirement,) = (Requirement(line) for line in lines if line.startswith("iced-x86"))
    machines = ("x86_64", "aarch64", "arm64", "s390x")
    needed = {machine: requirement.marker.evaluate({"platform_machine": machine}) for machine in machines}
    assert needed == {machine: machine == "x86_64" for machine in machines}


def test_lock_fits_what_tests_require():
    locked = {}
    for line in (ROOT / "requirements/test.lock").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            locked[name.lower().replace("-", "_")] = version
    for line in (ROOT / "requirements/test.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            version = locked.get(requirement.name.lower().replace("-", "_"))
            assert version, f"{line} is not in test.lock: python -m build_support.lock"
            assert requirement.specifier.contains(version), f"{line} is {version} in test.lock"


def test_recipe_builds_with_what_requirements_build_names():
    """Of torch the recipe needs the headers and libraries only, which conda-forge packs apart."""
    tools = {spec.replace("libtorch ", "pytorch ") for spec in specs_of("build") | specs_of("host")}
    assert requirements("build") <= tools


def test_pyproject_builds_with_what_requirements_build_names():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {conda_spec(Requirement(line)) for line in project["build-system"]["requires"]} == requirements("build")


def test_installed_package_requires_what_requirements_cpu_names():
    installed = [Requirement(line) for line in importlib.metadata.requires("vllm")]
    assert {conda_spec(r) for r in installed if r.marker is None} == requirements("cpu")


def test_python_range_agrees():
    (python,) = (spec for spec in specs_of("run") if spec.startswith("python "))
    assert python.split()[1] in importlib.metadata.metadata("vllm")["Requires-Python"].split(",")
