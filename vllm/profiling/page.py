"""A trace as one HTML page that needs nothing else."""

import json
from html import escape
from pathlib import Path

from vllm.profiling.trace import StepTrace, chrome_trace

_TEMPLATE = Path(__file__).parent / "trace.html"


def trace_page(steps: list[StepTrace], title: str) -> str:
    """The page holds the trace-event JSON (element #trace), draws it, and offers it as a file."""
    trace = json.dumps(chrome_trace(steps), separators=(",", ":")).replace("<", "\\u003c")
    page = _TEMPLATE.read_text(encoding="utf-8").replace("@title@", escape(title))
    return page.replace("@trace@", trace)
