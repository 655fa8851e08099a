"""The figures of `vllm bench serve`, under the names that vLLM's result files use."""

import argparse
import datetime
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vllm.entrypoints.cli.bench.client import Outcome
from vllm.entrypoints.cli.bench.report import print_table, summarize

# Name -> what it is, and its values in seconds.
METRICS: dict[str, tuple[str, Callable[[Outcome], list[float]]]] = {
    "ttft": ("time to first token", lambda outcome: [outcome.ttft]),
    "tpot": ("time per token after the first", lambda outcome: [outcome.tpot] if outcome.output_tokens > 1 else []),
    "itl": ("time between events", lambda outcome: outcome.itl),
    "e2el": ("time to the end", lambda outcome: [outcome.latency]),
}
_MS = 1000.0
_SHOWN_ERRORS = 3


def figures_of(args: argparse.Namespace, model: str, outcomes: list[Outcome], duration: float) -> dict[str, Any]:
    """Everything that was measured, and --metadata; times in milliseconds where the name says so, else in seconds."""
    done = [outcome for outcome in outcomes if outcome.error is None]
    prompt_tokens, output_tokens = sum(o.prompt_tokens for o in done), sum(o.output_tokens for o in done)
    figures = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "backend": args.backend,
        "model_id": model,
        "num_prompts": len(outcomes),
        "request_rate": "inf" if args.request_rate == math.inf else args.request_rate,
        "burstiness": args.burstiness,
        "max_concurrency": args.max_concurrency,
        "duration": duration,
        "completed": len(done),
        "failed": len(outcomes) - len(done),
        "total_input_tokens": prompt_tokens,
        "total_output_tokens": output_tokens,
        "request_throughput": len(done) / duration,
        "output_throughput": output_tokens / duration,
        "total_token_throughput": (prompt_tokens + output_tokens) / duration,
    }
    for name in args.percentile_metrics:
        values = [_MS * seconds for outcome in done for seconds in METRICS[name][1](outcome)]
        summary = summarize(values, args.metric_percentiles)
        figures |= {f"{statistic}_{name}_ms": value for statistic, value in summary.items()}
    return figures | args.metadata


def result_path(args: argparse.Namespace, model: str) -> Path | None:
    """Where --output-json or --save-result puts the figures, under vLLM's names."""
    if args.output_json is not None:
        return Path(args.output_json)
    if not args.save_result:
        return None
    concurrency = f"-concurrency{args.max_concurrency}" if args.max_concurrency else ""
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{args.backend}-{args.request_rate:g}qps{concurrency}-{model.rpartition('/')[2]}-{time}.json"
    return Path(args.result_dir or ".") / (args.result_filename or name)


def print_figures(args: argparse.Namespace, figures: dict[str, Any], outcomes: list[Outcome]) -> None:
    rows = [
        ("duration", f"{figures['duration']:.2f} s"),
        ("prompt tokens", f"{figures['total_input_tokens']}"),
        ("output tokens", f"{figures['total_output_tokens']}"),
        ("requests per second", f"{figures['request_throughput']:.2f}"),
        ("output tokens per second", f"{figures['output_throughput']:.1f}"),
        ("total tokens per second", f"{figures['total_token_throughput']:.1f}"),
    ]
    for name in args.percentile_metrics:
        for statistic in ("mean", "median", *(f"p{percent:g}" for percent in args.metric_percentiles)):
            rows.append((f"{METRICS[name][0]}, {statistic}", f"{figures[f'{statistic}_{name}_ms']:.2f} ms"))
    failed = f", {figures['failed']} failed" if figures["failed"] else ""
    print_table(f"{figures['completed']} of {figures['num_prompts']} requests answered{failed}", rows)
    errors = Counter(outcome.error for outcome in outcomes if outcome.error is not None)
    for error, count in errors.most_common(_SHOWN_ERRORS):
        print(f"  failed {count} times: {error}")
