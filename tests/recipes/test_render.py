"""Every recipe renders in every lane, and says the same as the rest of the checkout."""

import ast
import re

import pytest

from support.checkout import ROOT
from tooling.planning.lanes import known_lanes, variant_values
from tooling.planning.recipes import known_recipes, render

RECIPES = known_recipes(ROOT)
LANES = known_lanes(ROOT)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_renders(recipe, lane):
    outputs = render(ROOT, recipe, lane)
    assert recipe in [output.name for output in outputs]


BUILD_STRINGS = {
    "cpu": ["cpu_100"],
    "cpu-v3": ["cpu_v3_0"],
    "cpu-v4": ["cpu_v4_0"],
    "cpu-aarch64": ["cpu_100"],
    "cpu-osx-arm64": ["cpu_100"],
    "cpu-ppc64le": ["cpu_100"],
    "cpu-s390x": ["cpu_100"],
    "cuda12": ["cuda129_200"],
    "cuda12-aarch64": ["cuda129_200"],
    "cuda13": ["cuda130_200", "cuda132_200"],
    "cuda13-aarch64": ["cuda130_200", "cuda132_200"],
    "rocm7": ["rocm72_0"],
    "xpu": ["xpu_0"],
    "tpu": ["tpu_0"],
    "empty": ["empty_0"],
}
"""Of the first build of a version, without their hashes."""


def test_build_strings_say_the_lane_and_rank_it():
    made = {lane: [o.build for o in render(ROOT, "vllm", lane) if o.name == "vllm"] for lane in LANES}
    assert all(re.search(r"_h[0-9a-f]{7}_\d+$", build) for builds in made.values() for build in builds)
    assert {
        lane: [re.sub(r"_h\w{7}_", "_", build) for build in builds] for lane, builds in made.items()
    } == BUILD_STRINGS


def test_every_package_of_every_lane_has_a_name_of_its_own():
    files = [(o.subdir, o.file_name) for lane in LANES for o in render(ROOT, "vllm", lane)]
    assert len(files) == len(set(files))


@pytest.mark.parametrize(
    ("key", "lane", "used_by"),
    [
        ("vllm_cuda_archs", "cuda13", "vllm"),
        ("vllm_rocm_archs", "rocm7", "vllm"),
        ("vllm_cpu_baseline", "cpu-v3", "vllm"),
        ("c_stdlib_version", "cpu", "vllm"),
    ],
)
def test_what_a_lane_is_built_with_is_in_its_hash(key, lane, used_by):
    """Also what reaches the build by its environment alone."""
    (build, *_) = [o.build for o in render(ROOT, "vllm", lane) if o.name == used_by]
    (other, *_) = [o.build for o in render(ROOT, "vllm", lane, {key: ["9.9"]}) if o.name == used_by]
    assert build != other


def test_architectures_are_written_once():
    """Arm servers get those of the lane that theirs is derived from."""
    for key in ("vllm_cuda_archs", "vllm_rocm_archs"):
        values = {lane: variant_values(ROOT, lane, key) for lane in LANES}
        assert values["cuda13"] == values["cuda13-aarch64"] and values["cuda12"] == values["cuda12-aarch64"]
        texts = [file.read_text() for file in (ROOT / "recipe-variants").glob("*.yaml")]
        written = [value for (value,) in values.values() if value]
        assert all(sum(value in text for text in texts) == 1 for value in written)


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


@pytest.mark.parametrize("lane", [lane for lane in LANES if "-" in lane and lane not in ("cpu-v3", "cpu-v4")])
def test_a_lane_for_another_platform_is_compiled_here_for_it(lane):
    (output, *_) = render(ROOT, "vllm", lane)
    assert lane.endswith(output.subdir.removeprefix("linux-"))
    assert any(spec.split()[0].endswith(f"xx_{output.subdir}") for spec in output.requirements["build"])


@pytest.mark.parametrize("lane", ["empty", "tpu", "xpu"])
def test_a_lane_without_kernels_is_for_every_platform_and_needs_no_compiler(lane):
    (output,) = render(ROOT, "vllm", lane)
    assert output.subdir == "noarch" and output.down_prioritized
    assert not [spec for spec in output.requirements["build"] if "_" in spec.split()[0] or "cmake" in spec]


EXTENSION = re.compile(r"define_extension_target\((\w+)\s+DESTINATION (\S+)")


def extensions() -> dict[str, str]:
    """Every module that CMake builds and the folder that it is installed into."""
    return {
        name: folder
        for file in (ROOT / "cmake").glob("*_extension*.cmake")
        for name, folder in EXTENSION.findall(file.read_text())
    }


def test_every_module_is_looked_for_in_its_package():
    """A module in a folder of its own is for a package of its own, which is pinned to vllm exactly."""
    recipe = (ROOT / "recipes/vllm/recipe.yaml").read_text()
    assert {"_C", "_moe_C", "cumem_allocator"} <= extensions().keys()
    assert [name for name, folder in extensions().items() if f"{folder}/{name}.abi3.so" not in recipe] == []
    own = {folder for folder in extensions().values() if folder != "vllm"}
    packages = {output.name.replace("-", "") for output in render(ROOT, "vllm", "cuda13")}
    assert packages == {
        "vllm",
        *(f"vllm{folder.rpartition('/')[2].removeprefix('vllm_').replace('_', '')}" for folder in own),
    }
