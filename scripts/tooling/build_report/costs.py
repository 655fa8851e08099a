"""What compiling each source takes, for builds that have not compiled it yet (cmake/compile_costs.json)."""

from __future__ import annotations

import json
from pathlib import Path

from tooling.build_report.records import Compile
from tooling.files import write_whole


def keep(compiles: list[Compile], file: Path, root: Path) -> int:
    """Raises the costs in `file` to what these compiles took, and drops sources that `root` no longer has.

    Different lanes and compilers take different amounts; the most is what must fit. Returns how many changed.
    """
    before = json.loads(file.read_text())
    costs = {source: dict(cost) for source, cost in before.items() if (root / source).exists()}
    for compile in compiles:
        if compile.exit or compile.peak_rss_kb is None or not (root / compile.source).exists():
            continue
        cost = costs.setdefault(compile.source, {"peak_rss_kb": 0, "seconds": 0.0})
        cost["peak_rss_kb"] = max(cost["peak_rss_kb"], compile.peak_rss_kb)
        cost["seconds"] = max(cost["seconds"], round(compile.user_s, 1))
    write_whole(file, json.dumps(costs, indent=1, sort_keys=True) + "\n")
    return sum(before.get(source) != costs.get(source) for source in before | costs)
