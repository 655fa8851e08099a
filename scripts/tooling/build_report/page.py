"""The report: one HTML file without any other resource."""

from __future__ import annotations

from html import escape
from pathlib import Path

from tooling.build_report.measures import Totals, short_names, totals
from tooling.build_report.records import Compile, read
from tooling.build_report.timeline import duration, kind, memory, svg
from tooling.files import write_whole

PARTS = Path(__file__).parent
STATES = {"plain": "", "hit": "cache hit", "failed": "failed"}


def html(compiles: list[Compile], title: str) -> str:
    """The report of a build's compiles."""
    figures = totals(compiles)
    parts = {
        "title": escape(title),
        "style": (PARTS / "page.css").read_text(),
        "figures": "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in _figures(figures)),
        "timeline": svg(compiles, f"{title}: what was compiled when"),
        "rows": "\n".join(_rows(compiles)),
    }
    page = (PARTS / "page.html").read_text()
    for name, text in parts.items():
        page = page.replace(f"<!-- {name} -->", text)
    return page


def write(record: Path, target: Path, title: str) -> Path:
    """Write the report of `record` to `target`."""
    write_whole(target, html(read(record), title))
    return target


def _figures(figures: Totals) -> list[tuple[str, str]]:
    """Name and value of each figure at the top; what was not measured is left out."""
    shown = [
        ("compiles", f"{figures.compiles}"),
        ("from first to last", duration(figures.seconds)),
        ("compilers' time", duration(figures.work)),
        ("at a time", f"{figures.work / figures.seconds if figures.seconds else 1:.1f}, at most {figures.parallel}"),
    ]
    if figures.memory_kb:
        shown.append(("memory, at most", memory(figures.memory_kb)))
    if figures.cached:
        shown.append(("cache hits", f"{figures.hits} of {figures.cached}"))
    if figures.failed:
        shown.append(("failed", f"{figures.failed}"))
    return shown


def _rows(compiles: list[Compile]) -> list[str]:
    """Table rows, slowest first."""
    names, begin = short_names(compiles), min(c.start for c in compiles)
    rows = []
    for compile in sorted(compiles, key=lambda c: -c.seconds):
        state = STATES[kind(compile)] or (f"cache {compile.cache}" if compile.cache else "compiled")
        cells = (f"{compile.start - begin:.1f} s", f"{compile.seconds:.1f} s", f"{compile.user_s:.1f} s",
                 memory(compile.peak_rss_kb) if compile.peak_rss_kb else "", state)  # fmt: skip
        columns = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="{kind(compile)}"><th scope="row">{escape(names[compile.source])}</th>{columns}</tr>')
    return rows
