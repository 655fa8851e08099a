"""The recipe, requirements/ and the installed package name the same dependencies."""

import importlib.metadata

from packaging.requirements import Requirement

from support.checkout import ROOT
from tooling.recipes import render

CONDA_NAMES = {"torch": "pytorch"}
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
