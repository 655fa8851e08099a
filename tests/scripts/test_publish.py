"""scripts/publish: packages in, an indexed channel out."""

import json
import shutil

import pytest

from support.toy_checkout import make_checkout, make_empty_channel
from tooling import builder, cli
from tooling.progress import Progress


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    layout = make_checkout(tmp_path / "checkout")
    job = builder.Job("toy", "cpu", make_empty_channel(tmp_path / "base"))
    (package,) = builder.build(layout, job, Progress(layout.new_log("test")))
    target = tmp_path / "fetched" / package.name
    target.parent.mkdir()
    shutil.copy(package, target)
    return target


def publish(package, channel) -> int:
    return cli.main(["publish", str(package.parent), str(channel)])


def test_packages_are_sorted_by_platform_and_indexed(package, tmp_path):
    channel = tmp_path / "channel"
    assert publish(package, channel) == 0
    assert publish(package, channel) == 0, "a second time changes nothing"
    repodata = json.loads((channel / "linux-64/repodata.json").read_text())
    assert list(repodata["packages.conda"]) == [package.name]
    assert {"repodata.json.zst", "repodata_shards.msgpack.zst"} <= {f.name for f in (channel / "noarch").iterdir()}


def test_a_name_keeps_its_contents(package, tmp_path, capsys):
    channel = tmp_path / "channel"
    publish(package, channel)
    (channel / "linux-64" / package.name).write_bytes(b"other")
    assert publish(package, channel) == 2
    assert "is there with other contents: raise build_number" in capsys.readouterr().err


def test_half_a_package_is_refused(package, tmp_path, capsys):
    package.write_bytes(package.read_bytes()[:-200])
    assert publish(package, tmp_path / "channel") == 2
    assert "is not a complete package" in capsys.readouterr().err
    assert not (tmp_path / "channel").exists()


@pytest.mark.parametrize("arguments", [[], ["one"], ["/nowhere", "channel"]])
def test_wrong_arguments_are_one_line(arguments, capsys):
    assert cli.main(["publish", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
