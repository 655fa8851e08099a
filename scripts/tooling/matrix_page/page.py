"""index.html of a channel: choose platform, accelerator and driver, read the package and the lines that install it.

One file without any other resource. Without scripts it is a table of every build.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from html import escape
from pathlib import Path

from tooling.matrix_page.builds import DEVICES, PLATFORMS, Build, of_channel
from tooling.matrix_page.markdown import needs

PARTS = Path(__file__).parent
FILE = "index.html"


def html(builds: list[Build]) -> str:
    """The page for `builds`."""
    data = {
        "builds": [asdict(build) | {"device": build.device, "spec": build.spec} for build in builds],
        "devices": DEVICES,
        "platforms": PLATFORMS,
    }
    parts = {
        "style": (PARTS / "page.css").read_text(),
        "script": (PARTS / "page.js").read_text(),
        "data": json.dumps(data).replace("<", "\\u003c"),
        "rows": "\n".join(map(_row, builds)),
    }
    page = (PARTS / "page.html").read_text()
    for name, text in parts.items():
        page = page.replace(f"<!-- {name} -->", text)
    return page


def write(channel: Path) -> Path:
    """Write the page into an indexed channel folder."""
    file = channel / FILE
    new = file.with_suffix(".new")
    new.write_text(html(of_channel(channel)))
    os.replace(new, file)
    return file


def _row(build: Build) -> str:
    size = f"{build.size / 1e6:.2f} MB" if build.size else ""
    chosen = "by name" if build.by_name else "by the solver"
    cells = (DEVICES.get(build.device, build.device), PLATFORMS.get(build.platform, build.platform), build.version,
             build.build, chosen, needs(build), size)  # fmt: skip
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
