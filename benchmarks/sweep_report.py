"""What benchmarks/sweep.py writes: a table of points, and a plot of both rates over the context as SVG."""

import math
import time
from pathlib import Path
from typing import NamedTuple

from docs_section import with_section

TABLE_START, TABLE_END = "<!-- sweep: begin -->", "<!-- sweep: end -->"
INTRODUCTION = """
## From 1 request to 64, from 128 tokens to 8,192

`scripts/run python benchmarks/sweep.py --update-docs`: SmolLM2-135M's shape, bf16. *decode*: tokens a second of all
requests together at this context, and the share of the nearer limit (memory or arithmetic, measured in the same run).

"""
COLOURS = ("#4878d0", "#ee854a", "#3a9d5d", "#b8478c", "#8c6d46", "#5f5f5f")
WIDTH, HEIGHT, LEFT, TOP = 380, 300, 64, 46  # of a panel, pixels; LEFT and TOP are margins for its labels
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - 20, HEIGHT - TOP - 44


class Point(NamedTuple):
    """`prefill` and `decode` are tokens a second, `share` what decoding reached of the nearer limit."""

    context: int
    requests: int
    prefill: float
    decode: float
    share: float


def table(points: list[Point]) -> str:
    """A row a context; for each number of requests decode with its share of the limit, then the prefill rate."""
    contexts, counts = _axes(points)
    found = {(p.context, p.requests): p for p in points}
    head = ["context", *(f"decode, {n} at once" for n in counts), *(f"prefill, {n} at once" for n in counts)]
    rows = [head, ["---"] * len(head)]
    for context in contexts:
        row = [found.get((context, n)) for n in counts]
        cells = [f"{p.decode:.0f} ({100 * p.share:.0f} %)" if p else "-" for p in row]
        cells += [f"{p.prefill:.0f}" if p else "-" for p in row]
        rows.append([f"{context:,}", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def plot(points: list[Point]) -> str:
    """Two panels, decode and prefill, both axes logarithmic; a line a number of requests."""
    panels = [_panel(points, field, title, slot * WIDTH) for slot, (field, title) in enumerate(_PANELS)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n'
    )


def report_page(points: list[Point], docs: Path) -> None:
    """Replaces what is between the markers in docs/performance.md, or adds a section, and writes the plot."""
    page = docs / "performance.md"
    text = page.read_text()
    if TABLE_START not in text:
        text = f"{text.rstrip()}\n{INTRODUCTION}{TABLE_START}\n{TABLE_END}\n"
    made = f"\nMeasured {time.strftime('%Y-%m-%d')}, tokens a second.\n\n{table(points)}\n![sweep](images/sweep.svg)\n"
    (docs / "images" / "sweep.svg").write_text(plot(points))
    page.write_text(with_section(text, TABLE_START, TABLE_END, made))


_PANELS = (("decode", "decode, tokens a second"), ("prefill", "prefill, tokens a second"))


def _axes(points: list[Point]) -> tuple[list[int], list[int]]:
    return sorted({p.context for p in points}), sorted({p.requests for p in points})


def _panel(points: list[Point], field: str, title: str, shift: int) -> str:
    contexts, counts = _axes(points)
    values = [getattr(p, field) for p in points]
    low, high = _ticks(min(values), max(values))[0], _ticks(min(values), max(values))[-1]

    def x(context: int) -> float:
        return shift + LEFT + INNER_WIDTH * _portion(context, contexts[0], contexts[-1])

    def y(value: float) -> float:
        return TOP + INNER_HEIGHT * (1 - _portion(value, low, high))

    right, bottom = shift + LEFT + INNER_WIDTH, TOP + INNER_HEIGHT
    parts = [f'<text x="{shift + LEFT}" y="18" font-weight="bold">{title}</text>']
    for tick in _ticks(min(values), max(values)):
        parts.append(f'<line x1="{shift + LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{shift + LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,}</text>')
    parts += [f'<text x="{x(c):.1f}" y="{bottom + 18}" text-anchor="middle">{c:,}</text>' for c in contexts]
    parts.append(f'<text x="{shift + LEFT + INNER_WIDTH / 2}" y="{bottom + 36}" text-anchor="middle">context</text>')
    for slot, count in enumerate(counts):
        line = [(x(p.context), y(getattr(p, field))) for p in sorted(points) if p.requests == count]
        colour = COLOURS[slot % len(COLOURS)]
        corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in line)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in line]
        parts.append(f'<text x="{shift + LEFT + 70 * slot}" y="36" fill="{colour}">{count} at once</text>')
    return "".join(parts)


def _portion(value: float, low: float, high: float) -> float:
    """Where a value lies between two others on a logarithmic axis, 0 to 1; the middle of an axis of one value."""
    return 0.5 if low == high else math.log(value / low) / math.log(high / low)


def _ticks(low: float, high: float) -> list[int]:
    """1, 2 and 5 times powers of ten that enclose both."""
    steps = [m * 10**e for e in range(0, 8) for m in (1, 2, 5)]
    first = max((step for step in steps if step <= low), default=1)
    last = min(step for step in steps if step >= high)
    return [step for step in steps if first <= step <= last]
