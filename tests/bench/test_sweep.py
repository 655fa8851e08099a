"""What benchmarks/sweep.py writes, from points that were measured before, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.checkout import ROOT

SCRIPT = ROOT / "benchmarks" / "sweep.py"
POINTS = [
    {"context": context, "requests": requests, "prefill": 1000.0, "decode": 100.0 * requests, "share": 0.5}
    for context in (128, 512)
    for requests in (1, 4)
]


def run(*words: str) -> subprocess.CompletedProcess:
    # As scripts/run starts a script: with its own folder on the path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, env=environment)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import sweep_report

    return sweep_report


def test_a_point_is_measured_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "points.json"
    words = ["--contexts", "64", "--concurrency", "2", "--output-len", "2", "--rounds", "1", "--json", str(kept)]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    [point] = json.loads(kept.read_text())
    assert (point["context"], point["requests"]) == (64, 2)
    assert point["prefill"] > 0 and point["decode"] > 0 and point["share"] > 0


def test_measured_points_are_not_measured_again(tmp_path: Path) -> None:
    measured = tmp_path / "points.json"
    measured.write_text(json.dumps(POINTS))
    done = run("--short", "--resume", "--json", str(measured))
    assert done.returncode == 0, done.stderr
    assert "| 512 | 100 (50 %) | 400 (50 %) | 1000 | 1000 |" in done.stdout


@pytest.mark.parametrize(
    "words, complaint",
    [(["--contexts", "16"], "--contexts: give 66"), (["--contexts", "9000"], "8192"), (["--rounds", "0"], "1 or more")],
)
def test_refusals(words: list[str], complaint: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]


def test_the_plot_shows_every_point(report) -> None:
    picture = ElementTree.fromstring(report.plot([report.Point(**p) for p in POINTS]))
    space = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{space}circle")) == 2 * len(POINTS)
    decode = [float(c.get("cy")) for c in picture.findall(f"{space}circle")][: len(POINTS)]
    assert decode[0] == decode[1] > decode[2] == decode[3], "four requests lie above one"
    assert all(0 < float(c.get("cy")) < float(picture.get("height")) for c in picture.findall(f"{space}circle"))


def test_the_page_keeps_what_is_not_between_the_markers(report, tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    (tmp_path / "images").mkdir()
    page.write_text("# Figures\n\nkept\n")
    points = [report.Point(**p) for p in POINTS]
    report.report_page(points, tmp_path)
    first = page.read_text()
    report.report_page(points, tmp_path)
    assert page.read_text() == first
    assert first.startswith("# Figures\n\nkept\n") and first.count("| context |") == 1
    assert (tmp_path / "images" / "sweep.svg").read_text().startswith("<svg")


def test_a_page_without_marks_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from docs_section import with_section

    assert with_section("a<b>old<e>z", "<b>", "<e>", "new") == "a<b>new<e>z"
    for page, missing in (("no marks", "<b>"), ("only <b> the first", "<e>")):
        with pytest.raises(ValueError, match=f"the page has no {missing}: put both marks"):
            with_section(page, "<b>", "<e>", "new")
