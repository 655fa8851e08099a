"""Writes requirements/test.lock: every package that requirements/test.txt needs, each with one exact version.

python -m build_support.lock
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "requirements"
HEADER = (
    "# Written by `python -m build_support.lock`: requirements/test.txt and all that it requires, torch included.\n"
    "# pip install -r requirements/test.txt -c requirements/test.lock installs these versions of what is missing.\n"
)


def resolve(requirements: Path) -> list[str]:
    """``name==version`` of what pip would install for a requirements file into an empty environment."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*pip, "-r", str(requirements)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"vllm: pip could not resolve {requirements}; its message is above")
    packages = (item["metadata"] for item in json.loads(done.stdout)["install"])
    return sorted((f"{package['name']}=={package['version']}" for package in packages), key=str.lower)


def main() -> None:
    """Replace the lock once everything is resolved."""
    lines = resolve(FOLDER / "test.txt")
    new = FOLDER / ".test.lock.new"
    new.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    new.replace(FOLDER / "test.lock")
    print(f"requirements/test.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()
