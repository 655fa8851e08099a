"""docs/matrix.md, and the commands that write it and a channel's page."""

import json
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from support.checkout import ROOT
from support.machines import our_record, write_channel
from tooling import cli
from tooling.matrix_page import builds, install, markdown, page
from tooling.planning.lanes import known_lanes
from tooling.planning.recipes import render


def test_the_document_is_current(capsys):
    assert cli.main(["matrix_page", "--check"]) == 0, "run scripts/matrix_page"
    assert capsys.readouterr().out == "docs/matrix.md is current\n"


def test_the_document_has_every_lane_and_its_build_strings():
    text = (ROOT / markdown.FILE).read_text()
    for lane in known_lanes(ROOT):
        for output in render(ROOT, "vllm", lane):
            if output.name == "vllm":
                assert f"`{output.build.partition('_h')[0]}_h*_{output.number}`" in text


def test_the_document_has_every_package():
    rows = [line.split(" | ") for line in (ROOT / markdown.FILE).read_text().splitlines()]
    beside = {row[0].strip("| `"): row[1].strip(" |").split(", ") for row in rows if row[0].startswith("| `vllm-")}
    made = {(o.name, lane) for lane in known_lanes(ROOT) for o in render(ROOT, "vllm", lane) if o.name != "vllm"}
    assert made == {(name, lane) for name, lanes in beside.items() for lane in lanes}


def outputs():
    return [o for lane in known_lanes(ROOT) for o in render(ROOT, "vllm", lane) if o.name == "vllm"]


def test_a_rendered_output_and_its_repodata_are_the_same_build():
    for output in outputs():
        record = our_record(output)
        rendered = builds.of_output(output)
        assert builds.of_record(record, output.subdir) == replace(rendered, size=record["size"])


def test_a_spec_matches_its_own_lane_only():
    lanes = {build.lane: build for build in map(builds.of_output, outputs())}
    for build in lanes.values():
        name, pattern = build.spec.split("=*=")
        assert name == "vllm"
        assert [b.lane for b in lanes.values() if fnmatchcase(b.build, pattern)] == [build.lane]


@pytest.mark.parametrize("client", install.CLIENTS)
def test_every_line_names_its_client_and_both_channels_once(client):
    for build in map(builds.of_output, outputs()):
        lines = install.lines(build)[client]
        assert all(line.startswith(f"{client} ") for line in lines)
        assert sum(line.count("conda-forge") for line in lines) == sum(line.count("CHANNEL") for line in lines) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channel", "/nowhere"], "/nowhere holds no <platform>/repodata.json"),
        (["--channel", "/nowhere", "--check"], "leave out --channel"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_wrong_arguments(capsys, arguments, message):
    assert cli.main(["matrix_page", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("contents", ["", "[]", '{"packages": []}', '{"packages.conda": {"a": {"name": "vllm"}}}'])
def test_broken_repodata_is_named(tmp_path, capsys, contents):
    (tmp_path / "noarch").mkdir()
    (tmp_path / "noarch/repodata.json").write_text(contents)
    assert cli.main(["matrix_page", "--channel", str(tmp_path)]) == 2
    assert f"{tmp_path}/noarch/repodata.json is no repodata" in capsys.readouterr().err
    assert not (tmp_path / page.FILE).exists()


def test_the_page_is_one_file_with_a_row_a_build(tmp_path, capsys):
    write_channel(tmp_path / "channel", ROOT)
    assert cli.main(["matrix_page", "--channel", str(tmp_path / "channel")]) == 0
    text = (tmp_path / "channel" / page.FILE).read_text()
    assert text.count("<tr><td>") == len({(o.subdir, o.build) for o in outputs()})
    assert "//" not in text.replace("// ", ""), "no address of anything else"


def test_a_hostile_record_stays_text(tmp_path):
    (tmp_path / "noarch").mkdir()
    record = our_record(outputs()[0]) | {"version": "1</script><script>alert(1)</script>"}
    contents = {"packages": {}, "packages.conda": {"x.conda": record}}
    (tmp_path / "noarch/repodata.json").write_text(json.dumps(contents))
    assert "<script>alert" not in page.html(builds.of_channel(tmp_path))
