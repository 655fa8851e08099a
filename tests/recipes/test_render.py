"""Every recipe renders in every lane, and says the same as the rest of the checkout."""

import ast
import re

import pytest

from support.checkout import ROOT
from tooling.recipes import known_lanes, known_recipes, render

RECIPES = known_recipes(ROOT)
LANES = known_lanes(ROOT)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_renders(recipe, lane):
    outputs = render(ROOT, recipe, lane)
    assert recipe in [output.name for output in outputs]


@pytest.mark.parametrize("lane", LANES)
def test_build_string_begins_with_the_lane(lane):
    for output in render(ROOT, "vllm", lane):
        assert re.fullmatch(rf"{lane.replace('-', '_')}_h[0-9a-f]{{7}}_\d+", output.build)


def test_lanes_differ_in_their_hash_only_by_what_they_use():
    builds = {lane: render(ROOT, "vllm", lane)[0].build for lane in LANES}
    assert len(set(builds.values())) == len(LANES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_stay_short(recipe):
    assert len((ROOT / "recipes" / recipe / "recipe.yaml").read_text().splitlines()) < 150


def test_version_is_the_python_packages():
    tree = ast.parse((ROOT / "vllm/version.py").read_text())
    (version,) = [
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__version__"]
    ]
    assert {output.version for output in render(ROOT, "vllm", "cpu")} == {version}


def test_a_compiled_package_is_built_by_the_pinned_toolchain():
    (output,) = (output for output in render(ROOT, "vllm", "cpu") if output.name == "vllm")
    build = output.requirements["build"]
    assert any(spec.startswith("gxx_linux-64 ") for spec in build)
    assert any(spec.startswith("sysroot_linux-64 ") for spec in build)
    assert {"cmake", "ninja"} <= {spec.split()[0] for spec in build}


def test_pins_replace_variant_keys():
    (output, *_) = render(ROOT, "vllm", "cpu", {"c_stdlib_version": ["2.36"]})
    assert "sysroot_linux-64 2.36.*" in output.requirements["build"]
