"""Send requests to a running server and time its answers: throughput, time to first token, time per token.

Works with `vllm serve` and with other servers of OpenAI's interface that have /tokenize and /detokenize.
"""

import argparse
import asyncio
import math
import random
import time
from pathlib import Path
from typing import Any

from vllm.entrypoints.cli.bench.client import Outcome, measure
from vllm.entrypoints.cli.bench.options import pairs_of
from vllm.entrypoints.cli.bench.report import check_writable, progress, write_json
from vllm.entrypoints.cli.bench.request_flags import add_request_flags, request_fields
from vllm.entrypoints.cli.bench.samples import Sample, add_dataset_flags, check_dataset_flags, make_samples
from vllm.entrypoints.cli.bench.serve_flags import ENDPOINTS, add_load_flags, add_report_flags, add_server_flags
from vllm.entrypoints.cli.bench.serve_report import METRICS, figures_of, goodput_limits, print_figures, result_path
from vllm.entrypoints.cli.bench.target import Target, connect
from vllm.entrypoints.cli.registry import UsageError
from vllm.entrypoints.open_files import raise_open_file_limit

EXIT_FAILED = 1
# What the process has open beside connections, and some.
_OTHER_FILES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    add_load_flags(parser)
    add_request_flags(parser)
    add_dataset_flags(parser)
    add_report_flags(parser)


def run(args: argparse.Namespace) -> int:
    _check_result_flags(args)
    check_dataset_flags(args)
    args.percentile_metrics = _metric_names(args.percentile_metrics)
    args.endpoint = args.endpoint or ENDPOINTS[args.backend]
    if args.ignore_eos is None:
        args.ignore_eos = args.dataset_name == "random"
    return asyncio.run(_run(args))


def _check_result_flags(args: argparse.Namespace) -> None:
    """Makes --metadata a dict and --result-dir a folder; raises UsageError for what would not be written."""
    args.metadata = pairs_of(args.metadata, "--metadata", "=")
    args.goodput = goodput_limits(args.goodput)
    if args.save_result and args.output_json is not None:
        raise UsageError("--save-result and --output-json both name a file for the figures: give one of them")
    if not args.save_result and (args.result_dir or args.result_filename):
        raise UsageError("--result-dir and --result-filename say where --save-result writes: give that, too")
    if args.result_dir:
        try:
            Path(args.result_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--result-dir {args.result_dir}: {error.strerror}") from None
    check_writable(args.output_json)
    if args.save_result:
        check_writable(str(Path(args.result_dir or ".") / (args.result_filename or "result.json")), "--result-filename")


def _metric_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in METRICS:
            raise UsageError(f"--percentile-metrics has {name!r}: give names of {','.join(METRICS)}")
    return names


async def _run(args: argparse.Namespace) -> int:
    _check_connections(args)
    async with connect(args) as target:
        counts = await target.count_all(args.dataset_path) if args.dataset_name == "sharegpt" else {}
        samples = make_samples(args, await target.token_pool(), counts.__getitem__, args.seed)
        bodies = [await _body(args, target, sample) for sample in samples]
        await _try_one(target, args, bodies[0])
        for index in range(args.num_warmups):
            await measure(target.http, args.endpoint, bodies[index % len(bodies)])
        started = time.perf_counter()
        outcomes = await _send_all(target, args, bodies)
        duration = time.perf_counter() - started
    figures = figures_of(args, target.model, outcomes, duration)
    print_figures(args, figures, outcomes)
    write_json(result_path(args, target.model), figures)
    return EXIT_FAILED if figures["failed"] else 0


def _check_connections(args: argparse.Namespace) -> None:
    """Each request that runs has a connection, and each connection is an open file."""
    at_once, limit = args.max_concurrency or args.num_prompts, raise_open_file_limit()
    if at_once > limit - _OTHER_FILES:
        raise UsageError(
            f"{at_once} requests at once need as many open files, and the limit is {limit}: "
            f"give --max-concurrency {limit - _OTHER_FILES} or less, or raise it (ulimit -Hn)"
        )


async def _body(args: argparse.Namespace, target: Target, sample: Sample) -> dict[str, Any]:
    body = {"model": target.model, "max_tokens": sample.output_len}
    if args.ignore_eos:
        body["ignore_eos"] = True
    body |= request_fields(args)
    if args.backend != "openai-chat":
        return body | {"prompt": sample.prompt}
    text = sample.prompt if isinstance(sample.prompt, str) else await target.detokenize(sample.prompt)
    return body | {"messages": [{"role": "user", "content": text}]}


async def _try_one(target: Target, args: argparse.Namespace, body: dict[str, Any]) -> None:
    """One request before the clock starts, so that what fails all of them is said once."""
    outcome = await measure(target.http, args.endpoint, body)
    if outcome.error is not None:
        raise UsageError(f"a first request to {target.url}{args.endpoint} failed: {outcome.error}")


async def _send_all(target: Target, args: argparse.Namespace, bodies: list[dict[str, Any]]) -> list[Outcome]:
    rng = random.Random(args.seed)
    slots = asyncio.Semaphore(args.max_concurrency or len(bodies))
    with progress(len(bodies), "serve", "request", args.disable_tqdm) as bar:

        async def send(body: dict[str, Any], number: int) -> Outcome:
            prefix = args.request_id_prefix
            headers = None if prefix is None else {"X-Request-Id": f"{prefix}{number}"}
            async with slots:
                outcome = await measure(target.http, args.endpoint, body, headers)
            bar.update()
            return outcome

        tasks, due = [], time.perf_counter()
        for number, body in enumerate(bodies):
            if args.request_rate != math.inf:
                await asyncio.sleep(due - time.perf_counter())
                # Gamma-distributed gaps with mean 1 / rate; shape 1 is the exponential distribution.
                due += rng.gammavariate(args.burstiness, 1 / (args.request_rate * args.burstiness))
            tasks.append(asyncio.create_task(send(body, number)))
        return await asyncio.gather(*tasks)
