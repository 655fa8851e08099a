"""scripts/lanes: which lanes there are, and which a change touches."""

import json
import subprocess

import pytest

from support.checkout import ROOT
from tooling import cli
from tooling.errors import UserError
from tooling.planning.changes import DEVICES, changed_since, lanes_touched
from tooling.planning.inputs import recipe_inputs
from tooling.planning.lanes import default_lane, device_of, host_platform, known_lanes, platform_of, variant_files

EVERY = known_lanes(ROOT)
COMPILED = [lane for lane in EVERY if device_of(ROOT, lane) in ("cpu", "cuda", "rocm")]
GPU = [lane for lane in EVERY if device_of(ROOT, lane) in ("cuda", "rocm")]
CUDA = [lane for lane in EVERY if device_of(ROOT, lane) == "cuda"]
OWN = [default_lane(ROOT)]


@pytest.mark.parametrize(
    ("path", "lanes"),
    [
        ("vllm/config.py", EVERY),
        ("setup.py", EVERY),
        ("recipes/vllm/recipe.yaml", EVERY),
        ("conda_build_config.yaml", EVERY),
        ("csrc/cpu/norm.cpp", COMPILED),
        ("CMakeLists.txt", COMPILED),
        ("cmake/cpu_extension.cmake", COMPILED),
        ("csrc/device/norm.cu", GPU),
        ("csrc/hopper/scaled_mm.h", GPU),
        ("csrc/flashinfer/sampling.cu", CUDA),
        ("csrc/rocm/skinny_gemm.cu", ["rocm7"]),
        ("cmake/hip.cmake", ["rocm7"]),
        ("cmake/cutlass.cmake", CUDA),
        ("recipe-variants/cuda13.yaml", ["cuda13", "cuda13-aarch64"]),
        ("recipe-variants/cuda13-aarch64.yaml", ["cuda13-aarch64"]),
        ("scripts/tooling/building/builder.py", OWN),
        ("recipes/vllm-demo-model/recipe.yaml", OWN),
        (".github/workflows/build.yml", OWN),
        ("docs/structure.md", []),
        ("tests/recipes/test_render.py", []),
        ("benchmarks/kernels.py", []),
    ],
)
def test_a_change_touches(path, lanes):
    assert lanes_touched(ROOT, [path]) == lanes


def test_changes_add_up():
    assert lanes_touched(ROOT, ["docs/structure.md", "cmake/hip.cmake", "scripts/serve"]) == sorted(["rocm7", *OWN])


def test_nothing_that_a_package_is_made_of_is_left_out():
    """Each input of the recipe touches lanes, whatever the table of devices says."""
    assert all(lanes_touched(ROOT, [f"{entry}/x", entry]) for entry in recipe_inputs(ROOT, "vllm"))
    assert all((ROOT / entry).exists() for entry in DEVICES)


def test_every_folder_of_kernels_says_for_which_devices_it_is():
    folders = {f"csrc/{folder.name}/" for folder in (ROOT / "csrc").iterdir() if folder.is_dir()}
    assert folders - DEVICES.keys() == {f"csrc/{name}/" for name in ("bindings", "core", "cpu")}


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-b", "main")
    (tmp_path / "kept").write_text("1")
    (tmp_path / "gone").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    git("switch", "-c", "branch")
    (tmp_path / "kept").write_text("2")
    (tmp_path / "gone").rename(tmp_path / "moved")
    git("add", ".")
    git("commit", "-m", "second")
    return tmp_path


def test_a_moved_file_counts_at_both_places(repository):
    assert changed_since(repository, "main") == ["gone", "kept", "moved"]


def test_an_unknown_revision_is_one_line(repository):
    with pytest.raises(UserError, match=r"what changed since 'nowhere' cannot be told: .*; give a commit, tag or bra"):
        changed_since(repository, "nowhere")


def test_lanes_are_named_for_people_and_for_programs(capsys):
    assert cli.main(["lanes"]) == 0
    assert capsys.readouterr().out.split() == EVERY
    assert cli.main(["lanes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == EVERY
    assert cli.main(["lanes", "--al"]) == 2


def test_a_lane_is_what_its_names_parts_say_one_after_the_other():
    names = [file.name for file in variant_files(ROOT, "cuda13-aarch64")]
    assert names == ["conda_build_config.yaml", "cuda13.yaml", "cuda13-aarch64.yaml"]
    assert platform_of(ROOT, "cuda13-aarch64") == "linux-aarch64" and device_of(ROOT, "cuda13-aarch64") == "cuda"


def test_the_default_lane_is_for_this_machine():
    assert platform_of(ROOT, default_lane(ROOT)) == host_platform()


def test_this_machine_is_called_as_solvers_call_it():
    from rattler import Subdir

    assert host_platform() == str(Subdir.current())
