"""requirements/*.txt as setup.py needs them."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "requirements"


def read_requirements(name: str, folder: Path = FOLDER) -> list[str]:
    """Requirement lines of `name`.txt, with those of the files that it includes by ``-r``."""
    lines: list[str] = []
    for line in (folder / f"{name}.txt").read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            lines += read_requirements(line.removeprefix("-r ").strip().removesuffix(".txt"), folder)
        elif line:
            lines.append(line)
    return lines
