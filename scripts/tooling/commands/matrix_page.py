"""scripts/matrix_page: docs/matrix.md from the recipes; with --channel, the channel's index.html from its repodata."""

from __future__ import annotations

import os
from pathlib import Path

from tooling.commands.build import Parser
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.matrix_page import markdown, page


def parser() -> Parser:
    """The command line."""
    result = Parser(prog="scripts/matrix_page", description=__doc__.partition(": ")[2], allow_abbrev=False)
    result.add_argument("--channel", type=Path, metavar="FOLDER", help="write the page of this indexed channel instead")
    result.add_argument("--check", action="store_true", help=f"only say whether {markdown.FILE} is current")
    return result


def main(arguments: list[str]) -> int:
    """Write one of the two; with --check 1 when docs/matrix.md would change."""
    options = parser().parse_args(arguments)
    if options.channel and options.check:
        raise UserError(f"--check is about {markdown.FILE}: leave out --channel")
    if options.channel:
        print(page.write(options.channel.absolute()))
        return 0
    root = Layout.from_environment().root
    file, text = root / markdown.FILE, markdown.text(root)
    current = file.exists() and file.read_text() == text
    if options.check:
        print(f"{markdown.FILE} is {'current' if current else 'out of date: run scripts/matrix_page'}")
        return 0 if current else 1
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)
    print(file)
    return 0
