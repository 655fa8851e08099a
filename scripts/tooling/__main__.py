"""Entry of the tool environment's Python: `python scripts/tooling COMMAND ...`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tooling.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
