"""What the benchmarks say about the machine's limits."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.cli.bench.report import print_table

if TYPE_CHECKING:
    from vllm.profiling.roofline import Roofline, Share


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _rows(kind: str, share: "Share | None") -> list[tuple[str, str]]:
    if share is None:
        return []
    return [
        (f"{kind}, of the memory limit", _percent(share.memory)),
        (f"{kind}, of the arithmetic limit", _percent(share.arithmetic)),
        (f"{kind}, steps", f"{share.steps} in {share.seconds:.2f} s"),
    ]


def print_roofline(roofline: "Roofline | None", dtype: str) -> None:
    """A sentence with the share that counts for each kind of step, then all figures."""
    if roofline is None:
        return
    decode, prefill, limits = roofline.decode, roofline.prefill, roofline.limits
    reached = []
    if decode is not None:
        reached.append(f"decode reached {_percent(decode.memory)} of the memory limit")
    if prefill is not None:
        reached.append(f"prefill {'' if reached else 'reached '}{_percent(prefill.arithmetic)} of the arithmetic limit")
    rows = [
        ("memory limit, measured now", f"{limits.bytes_per_second / 1e9:.1f} GB/s"),
        (f"arithmetic limit, {dtype}", f"{limits.flops_per_second / 1e9:.0f} GFLOP/s"),
    ]
    if limits.int8_per_second:
        rows.append(("arithmetic limit, int8", f"{limits.int8_per_second / 1e9:.0f} GOP/s"))
    print_table(", ".join(reached), rows + _rows("decode", decode) + _rows("prefill", prefill))


def roofline_figures(roofline: "Roofline | None") -> dict[str, Any]:
    """For --output-json: limits a second, shares from 0 up; nothing where there are none."""
    return {} if roofline is None else {"roofline": asdict(roofline)}
