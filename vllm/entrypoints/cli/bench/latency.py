"""Time one batch of requests, again and again: every request starts at once, the clock stops at the last token."""

import argparse
import random
import time
from typing import TYPE_CHECKING

from vllm.entrypoints.cli.bench.options import (
    add_model_flags,
    add_output_flag,
    add_profile_flag,
    add_progress_flag,
    load_llm,
    whole_number,
)
from vllm.entrypoints.cli.bench.profile import write_profile
from vllm.entrypoints.cli.bench.report import check_writable, print_table, progress, summarize, write_json
from vllm.entrypoints.cli.bench.roofline import print_roofline, roofline_figures

if TYPE_CHECKING:
    from vllm.profiling.roofline import Roofline

_PERCENTS = (10, 25, 50, 75, 90, 99)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input-len", type=whole_number(1), default=32, metavar="N", help="prompt tokens (default 32)")
    parser.add_argument(
        "--output-len", type=whole_number(1), default=128, metavar="N", help="tokens to generate (default 128)"
    )
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=8, metavar="N", help="requests at once (default 8)"
    )
    parser.add_argument("--n", type=whole_number(1), default=1, help="answers to each prompt (default 1)")
    parser.add_argument(
        "--num-iters-warmup", type=whole_number(0), default=10, metavar="N", help="runs before the clock (default 10)"
    )
    parser.add_argument(
        "--num-iters", type=whole_number(1), default=30, metavar="N", help="runs that count (default 30)"
    )
    parser.add_argument("--disable-detokenize", action="store_true", help="leave tokens as ids")
    add_output_flag(parser)
    add_profile_flag(parser)
    add_progress_flag(parser)
    add_model_flags(parser)
    parser.set_defaults(enable_prefix_caching=False)  # the same prompts come again and again


def run(args: argparse.Namespace) -> None:
    check_writable(args.output_json)
    check_writable(args.profile, "--profile")
    from vllm import SamplingParams
    from vllm.profiling.roofline import observe, roofline

    llm = load_llm(args)
    params = SamplingParams(
        n=args.n, temperature=1.0, ignore_eos=True, max_tokens=args.output_len, detokenize=not args.disable_detokenize
    )
    rng = random.Random(args.seed)
    vocab_size = llm.llm_engine.config.model_config.vocab_size
    prompts = [{"prompt_token_ids": rng.choices(range(vocab_size), k=args.input_len)} for _ in range(args.batch_size)]
    latencies: list[float] = []
    runs = args.num_iters_warmup + args.num_iters
    with observe() as observation, progress(runs, "latency", "run", args.disable_tqdm) as bar:
        for iteration in range(-args.num_iters_warmup, args.num_iters):
            if iteration == 0:
                observation.steps.clear()
            started = time.perf_counter()
            llm.generate(prompts, params, use_tqdm=False)
            if iteration >= 0:
                latencies.append(time.perf_counter() - started)
            bar.update()
    _report(args, latencies, roofline(llm.llm_engine, observation), llm.llm_engine.config.model_config.dtype)
    write_profile(args.profile, llm, prompts)


def _report(args: argparse.Namespace, latencies: list[float], reached: "Roofline", dtype: str) -> None:
    summary = summarize(latencies, _PERCENTS)
    tokens = args.batch_size * args.n * args.output_len
    rows = [("mean latency", f"{summary['mean']:.4f} s")]
    rows += [(f"{percent} % of runs within", f"{summary[f'p{percent}']:.4f} s") for percent in _PERCENTS]
    rows.append(("output tokens per second", f"{tokens / summary['mean']:.1f}"))
    title = f"{args.num_iters} runs of {args.batch_size} requests, {args.input_len} tokens in, {args.output_len} out"
    print_table(title, rows)
    percentiles = {str(percent): summary[f"p{percent}"] for percent in _PERCENTS}
    print_roofline(reached, dtype)
    figures = {"avg_latency": summary["mean"], "latencies": latencies, "percentiles": percentiles}
    write_json(args.output_json, figures | roofline_figures(reached))
