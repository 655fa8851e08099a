"""Groups are asked for by what a build requires, and each of their recipes renders, with inputs that are pinned."""

import dataclasses
import json
import re
from types import SimpleNamespace

import pytest
import yaml

from standin import __main__ as command
from standin import catalogue, channel, group_plan, groups, making, plan
from standin.builder import Job, build, render
from standin.groups import HOST, Group
from standin.store import Unit
from support.wheels import make_wheel
from tooling.errors import UserError

GROUPS = groups.known_groups()
INSTANCES = [instance for group in GROUPS.values() for instance in group.instances()]
PLACEHOLDER = re.compile(r"\$\{\{ (\w+) \}\}")
EMPTY = {"cuda-version", "python_abi", "_x86_64-microarch-level"}
"""Packages whose dependencies are all there is to them."""


def names_of(*specs):
    return [group.name for group in groups.groups_for(specs)]


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (["cuda-nvcc_linux-64 13.0.*"], ["cuda-13.0"]),
        (["cuda-nvcc_linux-64 =13.2", "cutlass", "python"], ["cuda-13.2", "cutlass"]),
        (["cuda-version >=13,<14"], ["cuda-13.0", "cuda-13.2"]),
        (["cuda-nvcc_linux-64 12.9.*"], []),
        (["_x86_64-microarch-level >=4"], ["x86-64-v4"]),
        (["gxx_linux-aarch64 12.*"], ["linux-aarch64"]),
        (["cuda-nvcc_linux-aarch64 13.0.*"], ["cuda-13.0", "cuda-13.0-aarch64", "linux-aarch64"]),
        (["cuda-nvcc_linux-aarch64 13.2.*"], ["cuda-13.2", "cuda-13.2-aarch64", "linux-aarch64"]),
        (["hipcc 7.2.*"], ["rocm-7.2"]),
        (["python_abi 3.13.*"], ["python-3.13"]),
        (["python >=3.10", "python_abi 3.11.* *_cp311"], []),
        (["pytorch * *cuda*", "gxx_linux-64 12.*"], []),
    ],
)
def test_groups_follow_from_match_specs(specs, expected):
    assert names_of(*specs) == expected


def test_a_group_brings_those_that_it_needs(monkeypatch):
    known = {name: Group(name, (name,)) for name in ("a", "b", "c")}
    known["a"] = dataclasses.replace(known["a"], needs=("b",))
    monkeypatch.setattr(groups, "known_groups", lambda: known)
    assert names_of("a") == ["a", "b"]


def test_unknown_group_is_refused_before_anything_is_fetched(tmp_path, capsys):
    assert command.main(["--cache", str(tmp_path / "cache"), "--group", "cuda-1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the stand-in channel has no group 'cuda-1': choose of cuda-13.0")
    assert not (tmp_path / "cache").exists()


def test_unknown_key_of_a_group_file(tmp_path):
    (tmp_path / "x.yaml").write_text("answer: [x]\n")
    with pytest.raises(UserError, match=r"x\.yaml: unknown key answer"):
        groups.read_group(tmp_path / "x.yaml")


@pytest.mark.parametrize("group", INSTANCES, ids=lambda group: group.name)
def test_every_recipe_of_a_group(group, tmp_path):
    known = catalogue.planned([instance for other in GROUPS.values() for instance in other.instances()])
    recipes = group_plan.own_recipes(group)
    assert recipes
    for number, (name, (text, extra, beside)) in enumerate(recipes.items()):
        assert "version" in PLACEHOLDER.findall(text) or "version_of" not in extra
        platform = group_plan.platform_of(group, extra)
        unit = Unit(name, text, beside, (), {"version": "1.2.3"}, group.name, platform)
        recipe = render(unit.stage(tmp_path / str(number)), unit.context, platform).recipe.to_dict()
        assert recipe["package"]["name"] == name
        assert recipe["about"]["license"] and recipe["about"]["summary"]
        assert recipe.get("tests") or name in EMPTY
        assert set(extra) <= group_plan.EXTRA_KEYS
        for section, where in (("build", HOST), ("host", platform), ("run", platform)):
            for spec in (recipe.get("requirements") or {}).get(section, []):
                required = spec.split()[0]
                assert required.startswith("__") or catalogue.provider(required, where, group.name, known), (name, spec)


@pytest.mark.parametrize("group", GROUPS.values(), ids=lambda group: group.name)
def test_inputs_are_pinned(group):
    pinned = {pin.name: pin.version for pin in group.pins()}
    assert pinned == dict(wheel.split("==") for wheel in group.wheels)
    used = {wheel for _, extra, _ in group_plan.own_recipes(group).values() for wheel in extra.get("wheels", [])}
    assert used <= set(pinned)
    assert {pin.name for pin in group_plan.lone_wheels(group)} == set(pinned) - used


def test_packages_for_another_python_are_those_that_the_default_ones_ask_for():
    default = {pin.name: pin.version for pin in plan.pinned_wheels()}
    group = GROUPS["python-3.13"]
    own = {pin.name: pin for pin in group_plan.lone_wheels(group)}
    assert {name: pin.version for name, pin in own.items()} == {name: default[name] for name in own}
    assert {"numpy", "pytorch", "pydantic-core", "python"} <= {
        planned.name for planned in group_plan.group_packages(group)
    }


def test_a_wheel_without_a_recipe_is_packaged_for_the_groups_python(tmp_path):
    group = GROUPS["python-3.13"]
    (pin,) = [pin for pin in group_plan.lone_wheels(group) if pin.name == "httptools"]
    path = make_wheel(tmp_path, "httptools", pin.version, "cp313-cp313-manylinux_2_17_x86_64")
    downloads = SimpleNamespace(fetch_pin={pin: path}.get)
    (unit,) = group_plan.fetch_lone_wheel(group, pin, downloads)
    recipe = yaml.safe_load(unit.recipe)
    assert unit.id == "httptools@python-3.13" and recipe["build"]["string"].startswith("py313h")
    assert "python_abi 3.13.* *_cp313" in recipe["requirements"]["run"]
    assert recipe["build"]["script"]["content"].endswith(" 3.13")


def test_requirements_are_met_by_the_own_group_then_the_default_then_others():
    known = catalogue.planned([GROUPS["cuda-13.0"], GROUPS["cuda-13.2"], GROUPS["linux-aarch64"]])
    assert catalogue.provider("cuda-cudart", HOST, "cuda-13.2", known) == ["cuda-cudart@cuda-13.2"]
    assert set(catalogue.provider("cuda-cudart", HOST, "", known)) == {"cuda-cudart@cuda-13.0", "cuda-cudart@cuda-13.2"}
    assert catalogue.provider("libgcc", HOST, "linux-aarch64", known) == ["libgcc"], "tools run on this machine"
    assert catalogue.provider("libgcc", "linux-aarch64", "linux-aarch64", known) == ["libgcc@linux-aarch64"]
    assert catalogue.provider("cmake", HOST, "linux-aarch64", known) == ["cmake"]
    assert catalogue.provider("cudnn", HOST, "cuda-13.0", known) == []


def test_channels_are_named_after_their_groups_and_contents(tmp_path, monkeypatch):
    default = channel.channel_of(tmp_path)
    cuda = channel.channel_of(tmp_path, [GROUPS["cuda-13.0"]])
    assert cuda.name.startswith("channel-cuda-13.0-") and default.name.count("-") == 1
    changed = dataclasses.replace(GROUPS["cuda-13.0"], recipes=("cuda", "cutlass"))
    assert channel.channel_of(tmp_path, [changed]) != cuda
    assert channel.channel_of(tmp_path) == default, "a group's files do not change the default channel"


def test_the_group_of_a_command_line_is_planned(capsys):
    assert command.main(["--group", "linux-s390x", "--list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert {"gxx_linux-s390x@linux-s390x", "libhwy@linux-s390x", "libhwy", "python"} <= set(printed)


def test_a_group_for_each_value_of_a_key(tmp_path):
    group = GROUPS["x86-64-v4"]
    assert len(group.instances()) == len(group.each["cpu"])
    (instance,) = [instance for instance in group.instances() if instance.name == "x86-64-v4.zen4"]
    ((name, (text, _, _)),) = group_plan.own_recipes(instance).items()
    for subdir in making.SUBDIRS:
        (tmp_path / "empty" / subdir).mkdir(parents=True)
        (tmp_path / "empty" / subdir / "repodata.json").write_text('{"packages": {}, "packages.conda": {}}')
    unit = Unit(name, text, group=instance.name)
    done = build(Job(unit, (tmp_path / "empty").as_uri(), tmp_path / "work"))
    record = json.loads((done / "record.json").read_text())["record"]
    assert (record["version"], record["build"], record["depends"]) == ("4", "2_zen4", ["__archspec ==1 zen4"])


def test_every_context_of_a_shared_recipe_says_the_same_keys():
    by_recipes = {}
    for group in GROUPS.values():
        by_recipes.setdefault(group.recipes, []).append(set(group.context))
    assert all(keys == contexts[0] for contexts in by_recipes.values() for keys in contexts)


def test_answers_are_packages_of_the_group():
    for group in GROUPS.values():
        for answer in group.answers:
            name, _, version = answer.partition(" ")
            recipes = [group_plan.own_recipes(instance)[name] for instance in group.instances()]
            for text, _, _ in recipes if version else []:
                stated = yaml.safe_load(text)["package"]["version"]
                assert stated in (version, "${{ version }}")
