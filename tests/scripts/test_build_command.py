"""scripts/build: selection, rendering and dry runs."""

import errno
import json
import os
import subprocess

import pytest
import yaml

from support.checkout import ROOT
from support.static_server import serving
from support.toy_checkout import make_checkout, make_empty_channel, write_recipe
from tooling import channels, cli
from tooling.building import builder
from tooling.building.toolchains import MissingToolchain
from tooling.commands import build
from tooling.errors import UserError
from tooling.layout import Layout


@pytest.fixture
def layout(tmp_path, monkeypatch):
    layout = make_checkout(tmp_path / "checkout")
    write_recipe(layout.root, "other")
    (layout.root / "recipe-variants/cpu-v3.yaml").write_text("vllm_lane: [cpu_v3]\n")
    monkeypatch.setattr(Layout, "from_environment", classmethod(lambda cls: layout))
    return layout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lane", "gpu"], "unknown lane 'gpu': choose one of cpu, cpu-v3"),
        (["--recipe", "vlm"], "unknown recipe 'vlm': choose one of other, toy"),
        (["--all", "--lane", "cpu"], "--all builds every lane: leave out --lane, or leave out --all"),
        (["--fast"], "unrecognized arguments: --fast (see scripts/build --help)"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(layout, capsys, arguments, message):
    assert cli.main(["build", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_folder_with_white_space_is_refused_before_anything_is_asked_for(layout, capsys, monkeypatch):
    home = layout.root / "my work"
    apart = Layout(root=layout.root, home=home, cache=layout.cache)
    monkeypatch.setattr(Layout, "from_environment", classmethod(lambda cls: apart))
    assert cli.main(["build"]) == 2
    error = capsys.readouterr().err
    assert f"error: '{home}' has white space in it" in error and "set VLLM_RECIPES_HOME to a folder without\n" in error
    assert not (home / "work").exists()


def test_unknown_command(capsys):
    assert cli.main(["bild"]) == 2
    assert "unknown command 'bild': choose one of serve, run, build, " in capsys.readouterr().err


def test_render_prints_a_table_of_every_lane(layout, capsys):
    assert build.main(["--all", "--render"]) == 0
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["LANE", "PLATFORM", "PACKAGE", "VERSION", "BUILD", "SIZE", "TIME"]
    assert {(lane, name) for lane, _, name, *_ in rows} == {
        (lane, name) for lane in ("cpu", "cpu-v3") for name in ("other", "toy")
    }
    assert all(build.startswith(f"{lane.replace('-', '_')}_h") for lane, _, _, _, build, *_ in rows)
    assert all(row[-2:] == ["-", "-"] for row in rows)


def test_render_shows_size_and_time_of_the_last_build(layout, capsys):
    """Also when the inputs have changed since: the hash in the build string differs then."""
    sizes = {"linux-64/toy-1.0-cpu_h0000000_0.conda": 1_230_000}
    builder._write_atomically(
        builder.record_file(layout, "toy", "cpu"), json.dumps({"sizes": sizes, "seconds": 4.4, "files": []})
    )
    build.main(["--recipe", "toy", "--render"])
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[-4:] == ["1.23", "MB", "4", "s"]


def test_a_package_that_lanes_make_alike_is_shown_once(layout, capsys):
    recipe = layout.root / "recipes/other/recipe.yaml"
    recipe.write_text(
        recipe.read_text()
        .replace("${{ vllm_lane }}_h", "h")
        .replace("    build:\n      string", "    build:\n      noarch: generic\n      string")
    )
    build.main(["--all", "--recipe", "other", "--render"])
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("kinds", "status"),
    [((UserError, UserError), 2), ((MissingToolchain, MissingToolchain), 3), ((MissingToolchain, UserError), 2)],
)
def test_one_lane_that_cannot_be_built_does_not_keep_the_others(layout, monkeypatch, capsys, kinds, status):
    """A channel without its toolchain has an exit status of its own."""
    kind = iter(kinds)

    def build_one(layout, recipe, lane, outputs, progress):
        if lane == "cpu-v3":
            raise next(kind)(f"{recipe}: no compiler")

    monkeypatch.setattr(build, "build_one", build_one)
    assert cli.main(["build", "--all"]) == status
    assert "2 of 4 were not built, each with its reason above; first: other: no compiler" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "ends", "built"), [(0, 0, "true"), (3, 0, "false"), (2, 2, "")])
def test_a_lanes_job_skips_what_the_channel_cannot_build(tmp_path, status, ends, built):
    """The step of the workflow, run as its shell runs it."""
    steps = yaml.safe_load((ROOT / ".github/workflows/lane.yml").read_text())["jobs"]["build"]["steps"]
    step = next(step for step in steps if step.get("id") == "build")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/build").write_text(f"#!/bin/sh\nexit {status}\n")
    (tmp_path / "scripts/build").chmod(0o755)
    environment = os.environ | {"LANE": "cpu", "GITHUB_OUTPUT": str(tmp_path / "output")}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == ends
    assert (b"::notice" in done.stdout) == (status == 3)
    assert (f"built={built}\n" if built else "") == "".join(file.read_text() for file in tmp_path.glob("output"))
    upload = next(step for step in steps if step.get("with", {}).get("path") == "build/channel/*/*.conda")
    assert upload["if"] == "steps.build.outputs.built == 'true'"


def test_what_was_built_from_conda_forge_is_current_where_that_does_not_answer(layout, monkeypatch, capsys):
    """Nothing is asked for, and no stand-in is made."""
    monkeypatch.delenv("VLLM_RECIPES_CHANNEL", raising=False)
    monkeypatch.setattr(channels, "_answers", lambda *_: pytest.fail("the network was asked"))
    record = {"key": builder.Job("toy", "cpu", "conda-forge").key(layout), "files": []}
    builder._write_atomically(builder.record_file(layout, "toy", "cpu"), json.dumps(record))
    assert cli.main(["build", "--recipe", "toy"]) == 0
    assert "toy in lane cpu: unchanged" in capsys.readouterr().err
    (layout.root / "data/text").write_text("changed")
    with pytest.raises(pytest.fail.Exception, match="the network was asked"):
        cli.main(["build", "--recipe", "toy"])


def test_a_channel_that_fails_meanwhile_is_told_in_one_line(layout, tmp_path, monkeypatch, capsys):
    write_recipe(layout.root, build="[make]")
    make_empty_channel(tmp_path / "mine")
    for file in tmp_path.glob("mine/*/repodata.json"):
        file.write_text("half of it, {")
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    with serving(tmp_path / "mine") as address:
        monkeypatch.setenv("VLLM_RECIPES_CHANNEL", address)
        assert cli.main(["build", "--recipe", "toy"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "repodata.json" in error and error.endswith("goes on from here")


def test_a_full_disk_is_told_in_one_line_and_a_mistake_of_ours_is_not_hidden(layout, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr(build, "build_one", fail)
    error = OSError(errno.ENOSPC, "No space left on device", "/x")
    assert cli.main(["build", "--recipe", "toy"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: [Errno 28] No space left on device: '/x'; when")
    error = KeyError("x")
    with pytest.raises(KeyError):
        cli.main(["build", "--recipe", "toy"])


def test_dry_run_names_what_would_be_built_and_writes_nothing(layout, capsys):
    assert build.main(["--recipe", "toy", "--dry-run"]) == 0
    steps = capsys.readouterr().out.splitlines()
    assert [step.partition(":")[0] for step in steps] == ["channel", "build", "publish"]
    assert "recipes/toy in lane cpu -> toy-1.0-cpu_h" in steps[1]
    assert not layout.home.exists()


def test_a_recipe_that_does_not_render_is_named(layout, capsys):
    (layout.root / "recipes/toy/recipe.yaml").write_text("schema_version: 1\nbogus: 1\n")
    assert cli.main(["build", "--recipe", "toy", "--render"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: recipe 'toy' does not render in lane 'cpu': ") and len(error.splitlines()) == 1


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["build", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--lane", "--recipe", "--all", "--render", "--dry-run"))


def test_the_checkouts_own_lanes_include_cpu():
    from tooling.planning.recipes import known_lanes, known_recipes

    assert "cpu" in known_lanes(ROOT) and "vllm" in known_recipes(ROOT)
