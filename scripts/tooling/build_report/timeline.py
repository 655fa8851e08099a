"""The picture: a bar a compile, in as many rows as ran at a time; below it, memory over time. An SVG element.

Lengths are in the units of the view box, which the page scales to its width. Text has a size of its own there, so a
narrow screen shows the same picture smaller and the page lets it scroll.
"""

from __future__ import annotations

from html import escape

from tooling.build_report.measures import memory_kb, profile, rows, short_names, totals
from tooling.build_report.records import HIT, Compile

WIDTH, LEFT, RIGHT, TOP = 1000, 54, 12, 8
ROW, BAR, MEMORY, GAP = 26, 20, 90, 34
LETTER = 6.3
"""Width of a letter of a bar's text, about."""

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
GIB_STEPS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256)
KB_PER_GIB = 1 << 20


def svg(compiles: list[Compile], title: str) -> str:
    """The picture as an element with a title and a description for those who cannot see it."""
    figures, names = totals(compiles), short_names(compiles)
    begin, span = min(c.start for c in compiles), max(figures.seconds, 1e-3)
    scale = (WIDTH - LEFT - RIGHT) / span
    bottom = TOP + figures.parallel * ROW
    height = bottom + GAP + (MEMORY + TOP if figures.memory_kb else 0)
    parts = [_ticks(span, scale, TOP, bottom)]
    for compile, row in zip(compiles, rows(compiles), strict=True):
        x, width = LEFT + (compile.start - begin) * scale, max(compile.seconds * scale, 0.8)
        parts.append(_bar(compile, names[compile.source], x, TOP + row * ROW + (ROW - BAR) / 2, width))
    if figures.memory_kb:
        parts.append(_memory(compiles, begin, scale, span, bottom + GAP, figures.memory_kb))
    longest = max(compiles, key=lambda c: c.seconds)
    described = (
        f"{figures.compiles} compiles in {duration(figures.seconds)}, at most {figures.parallel} at a time; "
        f"the longest is {names[longest.source]} with {duration(longest.seconds)}. The table has every one."
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        'aria-labelledby="timeline-title" aria-describedby="timeline-about">'
        f'<title id="timeline-title">{escape(title)}</title><desc id="timeline-about">{escape(described)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def kind(compile: Compile) -> str:
    """How a compile is shown: failed, hit (from the cache) or plain."""
    return "failed" if compile.exit else "hit" if compile.cache == HIT else "plain"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def memory(kb: float) -> str:
    """KiB as people say them."""
    return f"{kb / KB_PER_GIB:.2f} GiB" if kb >= KB_PER_GIB else f"{kb / 1024:.0f} MiB"


def _bar(compile: Compile, name: str, x: float, y: float, width: float) -> str:
    details = [name, duration(compile.seconds)]
    details += [memory(compile.peak_rss_kb)] if compile.peak_rss_kb else []
    details += [f"cache {compile.cache}"] if compile.cache else []
    details += [f"exit status {compile.exit}"] if compile.exit else []
    room = int((width - 8) / LETTER)
    text = name.rpartition("/")[2]
    shown = text if len(text) <= room else f"{text[: room - 1]}…" if room > 3 else ""
    label = f'<text x="{x + 4:.1f}" y="{y + 14:.1f}">{escape(shown)}</text>' if shown else ""
    box = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2"/>'
    return f'<g class="{kind(compile)}"><title>{escape(", ".join(details))}</title>{box}{label}</g>'


def _ticks(span: float, scale: float, top: float, bottom: float) -> str:
    """Vertical lines at round times, with the time below."""
    step = next((step for step in STEPS if span / step <= 10), STEPS[-1])
    parts = []
    for number in range(int(span / step) + 1):
        x = LEFT + number * step * scale
        text = f"{number * step:g} s" if step < 60 else f"{number * step / 60:g} min"
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom + 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    return "".join(parts)


def _memory(compiles: list[Compile], begin: float, scale: float, span: float, top: float, peak_kb: int) -> str:
    """Memory of everything that runs, as an area below the rows."""
    bottom = top + MEMORY
    step = next((step for step in GIB_STEPS if peak_kb / KB_PER_GIB / step <= 4), GIB_STEPS[-1])
    per_kb = MEMORY / peak_kb
    points, height = [f"M{LEFT} {bottom}"], bottom
    for time, kb in profile(compiles, memory_kb):
        x = LEFT + (time - begin) * scale
        height = bottom - kb * per_kb
        points.append(f"H{x:.1f}V{height:.1f}")
    lines = []
    for number in range(1, int(peak_kb / KB_PER_GIB / step) + 1):
        y = bottom - number * step * KB_PER_GIB * per_kb
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(
            f'<text class="tick" x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{number * step:g} GiB</text>'
        )
    area = f'<path class="memory" d="{"".join(points)}H{LEFT + span * scale:.1f}V{bottom}Z"/>'
    return f"{area}{''.join(lines)}"
