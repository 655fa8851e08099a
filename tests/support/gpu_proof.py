"""The rows of docs/gpu.md: what was compared on a device, and how close it came."""

import subprocess

import torch
from torch import Tensor

from support.checkout import ROOT

PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- rows of tests/gpu -->\n", "<!-- end of rows -->\n"
HEAD = "| op | device | commit | tolerance | reached |\n|---|---|---|---|---|\n"


def difference(actual: Tensor, expected: Tensor) -> float:
    """Largest error over the larger of the expected number and 1."""
    expected = expected.double().cpu()
    return float(((actual.double().cpu() - expected).abs() / expected.abs().clamp(min=1)).max())


def with_rows(page: str, rows: list[str]) -> str:
    """The page with these rows in place of the ones between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + HEAD + "".join(rows) + END + after


class Proof:
    """Largest errors of one run on one device, and what the tests of tests/device found there."""

    def __init__(self, device: str):
        self._device = device
        self._tests: dict[str, list[tuple[int, int, float]]] = {}  # op: of each file, see note()
        self._reached: dict[str, tuple[float, float]] = {}  # op: tolerance, largest error

    def compare(self, op: str, actual: Tensor, expected: Tensor, tolerance: float) -> None:
        """Fails where an error passes the tolerance."""
        assert actual.shape == expected.shape
        error = difference(actual, expected)
        assert error <= tolerance, f"{op}: error {error:.3g}, accepted {tolerance:.3g}"
        before = self._reached.get(op, (0.0, 0.0))
        self._reached[op] = max(tolerance, before[0]), max(error, before[1])

    def note(self, op: str, tests: int, failed: int, share: float) -> None:
        """A file of tests/device: how many tests called `op` and failed, the largest share of a tolerance used."""
        self._tests.setdefault(op, []).append((tests, failed, share))

    def rows(self, commit: str) -> list[str]:
        """The ops of which every test passed."""
        found = {op: (f"{tolerance:.1e}", f"{error:.1e}") for op, (tolerance, error) in self._reached.items()}
        for op, files in self._tests.items():
            tests, failed, shares = zip(*files, strict=True)
            if not any(failed):
                found[op] = f"its {sum(tests)} tests'", f"{100 * max(shares):.0f} % of it"
        return [
            f"| {op} | {self._device} | {commit} | {tolerance} | {reached} |\n"
            for op, (tolerance, reached) in sorted(found.items())
        ]

    def write(self) -> None:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        PAGE.write_text(with_rows(PAGE.read_text(), self.rows(commit.stdout.strip() or f"torch {torch.__version__}")))
