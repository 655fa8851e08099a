"""The figures of `vllm bench serve`, under the names that vLLM's result files use."""

import argparse
import datetime
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vllm.entrypoints.cli.bench.client import Outcome
from vllm.entrypoints.cli.bench.options import pairs_of, real_number
from vllm.entrypoints.cli.bench.report import print_table, summarize
from vllm.entrypoints.cli.registry import UsageError

# Name -> what it is, and its values in seconds.
METRICS: dict[str, tuple[str, Callable[[Outcome], list[float]]]] = {
    "ttft": ("time to first token", lambda outcome: [outcome.ttft]),
    "tpot": ("time per token after the first", lambda outcome: [outcome.tpot] if outcome.output_tokens > 1 else []),
    "itl": ("time between events", lambda outcome: outcome.itl),
    "e2el": ("time to the end", lambda outcome: [outcome.latency]),
}
GOODPUT_METRICS = ("ttft", "tpot", "e2el")
_MS = 1000.0
_SHOWN_ERRORS = 3


def figures_of(args: argparse.Namespace, model: str, outcomes: list[Outcome], duration: float) -> dict[str, Any]:
    """Everything that was measured, and --metadata; times in milliseconds where the name says so, else in seconds."""
    done = [outcome for outcome in outcomes if outcome.error is None]
    prompt_tokens, output_tokens = sum(o.prompt_tokens for o in done), sum(o.output_tokens for o in done)
    figures = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "endpoint_type": args.backend,
        "backend": args.backend,
        "label": args.label or args.backend,
        "model_id": model,
        "tokenizer_id": args.tokenizer or model,
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
        "request_goodput": sum(_keeps(args.goodput, o) for o in done) / duration if args.goodput else None,
        "output_throughput": output_tokens / duration,
        "total_token_throughput": (prompt_tokens + output_tokens) / duration,
    }
    for name in args.percentile_metrics:
        values = [_MS * seconds for outcome in done for seconds in METRICS[name][1](outcome)]
        summary = summarize(values, args.metric_percentiles)
        figures |= {f"{statistic}_{name}_ms": value for statistic, value in summary.items()}
    return figures | (_details(outcomes) if args.save_detailed else {}) | args.metadata


def goodput_limits(words: Sequence[str]) -> dict[str, float]:
    """Metric -> milliseconds. Raises UsageError for a word that is not such a pair."""
    limits = {}
    for name, text in pairs_of(words, "--goodput", ":").items():
        if name not in GOODPUT_METRICS:
            raise UsageError(f"--goodput has {name!r}: give names of {','.join(GOODPUT_METRICS)}")
        try:
            limits[name] = real_number(0)(text)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--goodput has {name}:{text}: {error}") from None
    return limits


def _keeps(limits: dict[str, float], outcome: Outcome) -> bool:
    return all(_MS * seconds <= limit for name, limit in limits.items() for seconds in METRICS[name][1](outcome))


def _details(outcomes: list[Outcome]) -> dict[str, list[Any]]:
    """What --save-detailed adds: a value for each request; times in seconds."""
    return {
        "input_lens": [outcome.prompt_tokens for outcome in outcomes],
        "output_lens": [outcome.output_tokens for outcome in outcomes],
        "ttfts": [outcome.ttft for outcome in outcomes],
        "itls": [outcome.itl for outcome in outcomes],
        "latencies": [outcome.latency for outcome in outcomes],
        "generated_texts": [outcome.text for outcome in outcomes],
        "errors": [outcome.error or "" for outcome in outcomes],
    }


def result_path(args: argparse.Namespace, model: str) -> Path | None:
    """Where --output-json or --save-result puts the figures, under vLLM's names."""
    if args.output_json is not None:
        return Path(args.output_json)
    if not args.save_result:
        return None
    concurrency = f"-concurrency{args.max_concurrency}" if args.max_concurrency else ""
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{args.label or args.backend}-{args.request_rate:g}qps{concurrency}-{model.rpartition('/')[2]}-{time}.json"
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
    if args.goodput:
        rows.insert(4, ("of these in time", f"{figures['request_goodput']:.2f}"))
    for name in args.percentile_metrics:
        for statistic in ("mean", "median", *(f"p{percent:g}" for percent in args.metric_percentiles)):
            rows.append((f"{METRICS[name][0]}, {statistic}", f"{figures[f'{statistic}_{name}_ms']:.2f} ms"))
    failed = f", {figures['failed']} failed" if figures["failed"] else ""
    print_table(f"{figures['completed']} of {figures['num_prompts']} requests answered{failed}", rows)
    errors = Counter(outcome.error for outcome in outcomes if outcome.error is not None)
    for error, count in errors.most_common(_SHOWN_ERRORS):
        print(f"  failed {count} times: {error}")
