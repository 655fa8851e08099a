"""Answer many requests offline, as fast as they go, and count requests and tokens per second."""

import argparse
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
from vllm.entrypoints.cli.bench.report import check_writable, print_table, write_json
from vllm.entrypoints.cli.bench.roofline import print_roofline, roofline_figures
from vllm.entrypoints.cli.bench.samples import add_dataset_flags, check_dataset_flags, make_samples

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.profiling.roofline import Roofline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset_flags(parser)
    parser.add_argument("--n", type=whole_number(1), default=1, help="answers to each prompt (default 1)")
    parser.add_argument("--backend", choices=("vllm",), default="vllm", help="the engine to measure: vllm")
    parser.add_argument("--disable-detokenize", action="store_true", help="leave tokens as ids")
    add_output_flag(parser)
    add_profile_flag(parser)
    add_progress_flag(parser)
    add_model_flags(parser)


def run(args: argparse.Namespace) -> None:
    check_writable(args.output_json)
    check_writable(args.profile, "--profile")
    check_dataset_flags(args)
    from vllm import SamplingParams
    from vllm.profiling.roofline import observe, roofline

    llm = load_llm(args)
    pool = range(llm.llm_engine.config.model_config.vocab_size)
    samples = make_samples(args, pool, lambda text: len(llm.get_tokenizer().encode(text)), args.seed)
    prompts = [{"prompt": s.prompt} if isinstance(s.prompt, str) else {"prompt_token_ids": s.prompt} for s in samples]
    params = [
        SamplingParams(
            n=args.n, temperature=1.0, ignore_eos=True, max_tokens=s.output_len, detokenize=not args.disable_detokenize
        )
        for s in samples
    ]
    started = time.perf_counter()
    with observe() as observation:
        outputs = llm.generate(prompts, params, use_tqdm=not args.disable_tqdm)
    seconds = time.perf_counter() - started
    reached = roofline(llm.llm_engine, observation)
    _report(args, outputs, seconds, reached, llm.llm_engine.config.model_config.dtype)
    write_profile(args.profile, llm, prompts)


def _report(
    args: argparse.Namespace, outputs: "list[RequestOutput]", seconds: float, reached: "Roofline", dtype: str
) -> None:
    prompt_tokens = sum(len(output.prompt_token_ids) for output in outputs)
    output_tokens = sum(len(answer.token_ids) for output in outputs for answer in output.outputs)
    total = prompt_tokens + output_tokens
    rows = [
        ("duration", f"{seconds:.2f} s"),
        ("requests per second", f"{len(outputs) / seconds:.2f}"),
        ("output tokens per second", f"{output_tokens / seconds:.1f}"),
        ("total tokens per second", f"{total / seconds:.1f}"),
    ]
    print_table(f"{len(outputs)} requests, {prompt_tokens} prompt tokens, {output_tokens} output tokens", rows)
    print_roofline(reached, dtype)
    figures = {
        "elapsed_time": seconds,
        "num_requests": len(outputs),
        "total_num_tokens": total,
        "num_prompt_tokens": prompt_tokens,
        "num_output_tokens": output_tokens,
        "requests_per_second": len(outputs) / seconds,
        "tokens_per_second": total / seconds,
        "output_tokens_per_second": output_tokens / seconds,
    }
    write_json(args.output_json, figures | roofline_figures(reached))
