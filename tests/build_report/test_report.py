"""The report of a build: what is read, measured and drawn, and how it looks in a browser."""

import json
import re
from xml.etree import ElementTree

import pytest

from support.browser import Page
from support.static_server import serving
from tooling import build_report, cli
from tooling.build_report import measures, page, timeline
from tooling.errors import UserError

COMPILES = (
    ("csrc/cpu/attention.cpp", 0, 40, {"peak_rss_kb": 3 << 20}),
    ("csrc/cpu/linear.cpp", 0, 10, {"cache": "miss"}),
    ("csrc/bindings/norm.cpp", 10, 12, {"cache": "hit", "peak_rss_kb": None}),
    ("csrc/cpu/broken.cpp", 12, 15, {"exit": 1}),
)


def test_rows_are_as_many_as_ran_at_a_time(record):
    compiles = build_report.read(record(*COMPILES))
    assert measures.rows(compiles) == [0, 1, 1, 1]


def test_totals(record):
    totals = measures.totals(build_report.read(record(*COMPILES)))
    assert (totals.compiles, totals.seconds, totals.work, totals.parallel) == (4, 40, 55, 2)
    assert totals.memory_kb == 4 << 20, "3 GiB and 1 GiB at the same time"
    assert (totals.hits, totals.cached, totals.failed) == (1, 2, 1)


def test_the_table_is_slowest_first_with_what_became_of_each(record):
    rows = page._rows(build_report.read(record(*COMPILES)))
    assert [re.search(r"row\">([^<]*)", row)[1] for row in rows] == [
        "cpu/attention.cpp", "cpu/linear.cpp", "cpu/broken.cpp", "bindings/norm.cpp"]  # fmt: skip
    assert [re.findall(r"<td>([^<]*)</td>", row)[-1] for row in rows] == [
        "compiled",
        "cache miss",
        "failed",
        "cache hit",
    ]


def test_the_picture_has_a_bar_a_compile_to_scale(record):
    root = ElementTree.fromstring(timeline.svg(build_report.read(record(*COMPILES)), "a build"))
    bars = [(group.get("class"), group.find("rect")) for group in root.iter("g")]
    assert [kind for kind, _ in bars] == ["plain", "plain", "hit", "failed"]
    widths = [float(bar.get("width")) for _, bar in bars]
    assert [round(width / widths[0] * 40) for width in widths] == [40, 10, 2, 3]
    assert root.find("title").text == "a build"
    assert "the longest is cpu/attention.cpp with 40.0 s" in root.find("desc").text


def test_one_instant_compile_without_memory_is_drawn(record):
    compiles = build_report.read(record(("a.cpp", 5, 5, {"peak_rss_kb": None})))
    assert ElementTree.fromstring(timeline.svg(compiles, "a build")) is not None
    assert "memory, at most" not in page.html(compiles, "a build")


def test_thousands_of_compiles_are_drawn_at_once(record):
    compiles = build_report.read(record(*((f"{n}.cu", n // 8, n // 8 + 1.5, {}) for n in range(4000))))
    assert measures.totals(compiles).parallel == 16
    assert page.html(compiles, "a build").count("<rect") == 4000


def test_costs_are_the_most_that_was_seen_of_sources_that_are_there(record, tmp_path):
    for name in ("old.cpp", "new.cu", "failed.cu", "cached.cpp"):
        (tmp_path / name).touch()
    costs = tmp_path / "costs.json"
    known = {"old.cpp": {"peak_rss_kb": 900, "seconds": 9.0}, "gone.cpp": {"peak_rss_kb": 1, "seconds": 1.0}}
    costs.write_text(json.dumps(known))
    compiles = build_report.read(
        record(
            ("old.cpp", 0, 20, {"peak_rss_kb": 800}),
            ("new.cu", 0, 10, {"peak_rss_kb": 700}),
            ("new.cu", 5, 10, {"peak_rss_kb": 750}),
            ("failed.cu", 0, 1, {"exit": 1}),
            ("cached.cpp", 0, 1, {"peak_rss_kb": None}),
            ("elsewhere.cpp", 0, 1, {}),
        )
    )
    assert build_report.keep_costs(compiles, costs, tmp_path) == 3
    assert json.loads(costs.read_text()) == {
        "new.cu": {"peak_rss_kb": 750, "seconds": 9.0},
        "old.cpp": {"peak_rss_kb": 900, "seconds": 18.0},
    }
    assert build_report.keep_costs(compiles, costs, tmp_path) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")]
)
def test_durations(seconds, text):
    assert timeline.duration(seconds) == text


def test_names_are_text(record):
    html = page.html(build_report.read(record(("<b>&.cpp", 0, 100, {}))), "<i>")
    assert "<b>" not in html and "<i>" not in html and "&lt;b&gt;&amp;.cpp" in html


def test_a_line_that_a_killed_build_left_unfinished_is_left_out(record):
    file = record(*COMPILES)
    file.write_text(file.read_text()[:-30])
    assert len(build_report.read(file)) == len(COMPILES) - 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "records no compile"),
        ("{}\n", "line 1 is no record of a compile"),
        ("nonsense\n", "line 1 is no record of a compile"),
        ('{"source": "a", "start": 9, "end": 1, "user_s": 1, "peak_rss_kb": 1, "exit": 0}\n', "line 1 is no record"),
    ],
)
def test_broken_records_are_refused(tmp_path, text, message):
    (tmp_path / "record").write_text(text)
    with pytest.raises(UserError, match=message):
        build_report.read(tmp_path / "record")


def test_the_command_writes_the_page_beside_the_record(record, capsys, tmp_path):
    assert cli.main(["build_report", str(record(*COMPILES))]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'compile_record.html'}\n"
    assert (tmp_path / "compile_record.html").exists()
    assert cli.main(["build_report", str(tmp_path / "none")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_in_a_browser(record, tmp_path, scheme, width):
    build_report.write(record(*COMPILES), tmp_path / "page/index.html", "vllm in lane cpu")
    with serving(tmp_path / "page") as address, Page(address, width=width, height=740) as browser:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert browser.run("return document.documentElement.scrollWidth") <= width, "only the picture scrolls"
        assert browser.element("svg").accessible_name == "vllm in lane cpu: what was compiled when"
        assert len(browser.elements("tbody tr")) == len(browser.elements("svg g")) == len(COMPILES)
        light = sum(map(int, re.findall(r"\d+", browser.run(BACKGROUND))[:3])) > 3 * 128
        assert light == (scheme == "light")
        assert browser.run(OVERFLOWING) == []
        assert browser.outside_requests() == []
        assert browser.console() == []


BACKGROUND = "return getComputedStyle(document.documentElement).backgroundColor"
OVERFLOWING = """
return [...document.querySelectorAll("svg g")].filter((g) => g.querySelector("text")
  && g.querySelector("text").getBBox().width > g.querySelector("rect").getBBox().width).map((g) => g.textContent);
"""
