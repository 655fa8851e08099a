"""compile_bytecode.py FOLDER PREFIX PYTHON: compile the modules in a folder of an environment of a Python (as in 3.11).

As in conda-forge's packages: what is installed without its bytecode is compiled by every environment anew, which takes
longer than most of what is then run. Another Python than this one is left to do so.
"""

import compileall
import sys
from pathlib import Path
from py_compile import PycInvalidationMode


def sources(folder: Path, prefix: str) -> list[Path]:
    """Modules below `folder`, but those that name the prefix: installing rewrites them."""
    return [file for file in folder.rglob("*.py") if file.is_file() and prefix.encode() not in file.read_bytes()]


def main() -> None:
    """Compile. Modules that do not compile, for newer Pythons or as tests of errors, are left alone."""
    folder, prefix, python = sys.argv[1:]
    if python != f"{sys.version_info.major}.{sys.version_info.minor}":
        return
    for file in sources(Path(folder), prefix):
        # Whatever times the files are given when they are installed, they are the ones compiled here.
        compileall.compile_file(file, stripdir=prefix, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    main()
