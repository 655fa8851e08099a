"""Checks of what a package says about itself, each with packages that break it."""

import json

import pytest

from support.conda_file import Contents
from tooling.package_checks.size import budget


def test_a_sound_package_breaks_nothing(findings):
    assert findings(Contents()) == {}


@pytest.mark.parametrize(
    ("contents", "finding"),
    [
        (Contents(index={"version": "1.1"}), "the index says toy-1.1-cpu_h0123456_0.conda"),
        (Contents(index={"build_number": 7}), "does not end in the build number 7"),
        (Contents(variant={"vllm_lane": "cuda"}), "does not begin as its lane cuda does"),
        (Contents(variant={"target_platform": "linux-aarch64"}), "linux-64 in the index, linux-aarch64 in the variant"),
    ],
)
def test_identity(findings, contents, finding):
    found = findings(contents)
    assert list(found) == ["identity"] and finding in found["identity"]


def test_lane_and_build_string_agree(findings):
    assert findings(Contents(build="cuda130_h0123456_0", variant={"vllm_lane": "cuda"})) == {}


def listed(*paths: str, sha256: str = "0" * 64) -> dict[str, bytes]:
    return {"info/paths.json": json.dumps({"paths": [{"_path": p, "sha256": sha256} for p in paths]}).encode()}


@pytest.mark.parametrize(
    ("info", "finding"),
    [
        (listed(), "share/toy is there but not listed"),
        (listed("share/toy"), "share/toy is not the file that was listed"),
        (listed("share/toy", "share/gone"), "share/gone is listed but not there"),
    ],
)
def test_contents(findings, info, finding):
    assert finding in findings(Contents(info=info))["contents"]


@pytest.mark.parametrize(
    ("contents", "finding"),
    [
        (Contents(licences={}), "no licence file"),
        (Contents(licences={"LICENSE": b" \n"}), "the licence file LICENSE is empty"),
        (Contents(index={"license": ""}), "the index names no licence"),
        (Contents(index={"license": "Apache 2"}), "'Apache 2' is no SPDX licence expression"),
    ],
)
def test_licences(findings, contents, finding):
    found = findings(contents)
    assert list(found) == ["licences"] and finding in found["licences"]


def test_size(findings):
    noise = b"".join(hash_chain(5_500_000))
    found = findings(Contents(files={"share/toy": noise}))
    assert list(found) == ["size"] and "budgets.yaml allows toy 5 MB" in found["size"]


def hash_chain(size: int):
    """Bytes that do not compress, the same in every run."""
    from hashlib import sha256

    for number in range(size // 32):
        yield sha256(number.to_bytes(8, "big")).digest()


@pytest.mark.parametrize(
    ("name", "lane", "megabytes"),
    [
        ("vllm", "cpu", 5),
        ("vllm", "cpu_v3", 5),
        ("vllm", "cuda", 40),
        ("vllm", "empty", 2),
        ("vllm-demo-model", "", 25),
    ],
)
def test_budgets(name, lane, megabytes):
    assert budget(name, lane) == megabytes * 1e6


@pytest.mark.parametrize(
    ("contents", "finding"),
    [
        (
            Contents(files={"share/toy": b"see /x/bld/rattler-build_toy_17/build_env/a.c\n"}),
            "/x/bld/rattler-build_toy_17/build_env",
        ),
        (Contents(files={"share/toy": b"/some/checkout/csrc/a.c"}), "share/toy names /some/checkout"),
        (Contents(placeholders={"share/toy": "/x/_h_env"}), "share/toy holds the build environment's path"),
        (
            Contents(info={"info/recipe/notes": b"/a/host_env_placehold_placehold"}),
            "info/recipe/notes names /a/host_env",
        ),
    ],
)
def test_build_paths(findings, contents, finding):
    found = findings(contents, build_folders=("/some/checkout",))
    assert list(found) == ["build paths"] and finding in found["build paths"]


def test_a_source_may_name_a_temporary_folder(findings):
    assert findings(Contents(files={"share/toy.py": b"SCRATCH = '/tmp/toy/scratch/file'\n"})) == {}
