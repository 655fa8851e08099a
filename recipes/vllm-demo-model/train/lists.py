"""The lists of text/lists.yaml by name."""

from pathlib import Path

import yaml

TEXT = Path(__file__).parent / "text"
LISTS: dict[str, list[str]] = yaml.safe_load((TEXT / "lists.yaml").read_text())
