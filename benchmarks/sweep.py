"""Tokens a second over contexts and numbers of requests at once, to see that there is no cliff.

    scripts/run python benchmarks/sweep.py [--short] [--resume] [--update-docs]

A model of random weights in the shape of SmolLM2-135M (bf16), of which only config.json is written. At each point the
prompts are computed (*prefill*), then found in the prefix cache and continued (*decode*): every sequence of a decode
step has about the point's context, and none waits for another's prompt. Run it on an idle machine; every point is
kept in --json as it is measured, so that --resume goes on where a run ended. All points take about half an hour.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from sweep_report import Point, report_page, table

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
TOKEN_BYTES = 30 * 2 * 3 * 64 * 2  # keys and values of one token: layers, both, heads, head size, bf16
BLOCK = 32
SHARE_OF_FREE_MEMORY = 0.75
ROOT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, nargs="+", default=[128, 512, 2048, 8192], metavar="TOKENS")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16, 64], metavar="REQUESTS")
    parser.add_argument("--output-len", type=int, default=32, metavar="N", help="decode steps a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of decoding; medians count (%(default)s)")
    parser.add_argument("--short", action="store_true", help="contexts 128 and 512, 1 and 4 requests, one round of 8")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "sweep.json", help="points (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="keep the points that --json has")
    parser.add_argument("--update-docs", action="store_true", help="write table and plot into docs/")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.contexts, arguments.concurrency = [128, 512], [1, 4]
        arguments.output_len, arguments.rounds = 8, 1
    least, most = arguments.output_len + 2 + BLOCK, CONFIG["max_position_embeddings"]
    if min(arguments.output_len, arguments.rounds, *arguments.concurrency) < 1:
        parser.error("--output-len, --rounds and --concurrency: give 1 or more")
    if not least <= min(arguments.contexts) <= max(arguments.contexts) <= most:
        parser.error(f"--contexts: give {least} (--output-len and a block of the cache) to {most} tokens")
    return arguments


def wanted_points(arguments: argparse.Namespace) -> list[tuple[int, int]]:
    """(context, requests), cheap ones first; those whose keys and values do not fit are left out with a word."""
    from vllm.platforms import current_platform

    room = SHARE_OF_FREE_MEMORY * current_platform.host_free_memory()
    fitting = []
    for context, requests in sorted(((c, r) for c in arguments.contexts for r in arguments.concurrency), key=tokens_of):
        if cache_bytes(context, requests) < room:
            fitting.append((context, requests))
        else:
            need = cache_bytes(context, requests) / 2**30
            print(f"left out, {need:.1f} GiB of cache are needed: {requests} requests of {context}", file=sys.stderr)
    return fitting


def tokens_of(point: tuple[int, int]) -> int:
    return point[0] * point[1]


def cache_bytes(context: int, requests: int) -> int:
    return TOKEN_BYTES * requests * (context + 2 * BLOCK)


class Sweep:
    """The engine, sized for the largest point, and the machine's limits."""

    def __init__(self, points: list[tuple[int, int]], arguments: argparse.Namespace):
        import torch

        from vllm import LLM
        from vllm.profiling.cost import ModelCost
        from vllm.profiling.limits import measure_limits
        from vllm.profiling.model_parts import model_of
        from vllm.worker.kv_cache import CacheFormat

        self._arguments = arguments
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(CONFIG))
            self._llm = LLM(
                folder,
                load_format="dummy",
                skip_tokenizer_init=True,
                block_size=BLOCK,
                max_model_len=max(context for context, _ in points),
                max_num_seqs=max(arguments.concurrency),
                kv_cache_memory_bytes=max(cache_bytes(*point) for point in points),
            )
        self._cost = ModelCost(model_of(self._llm.llm_engine), CacheFormat.of("auto", torch.bfloat16))
        self._limits = measure_limits(torch.bfloat16, self._cost.uses_int8)

    def measure(self, context: int, requests: int) -> Point:
        self._llm.reset_prefix_cache()
        # A multiple of the block size and one more: that one is all there is to compute when the prompt is cached.
        length = (context - self._arguments.output_len - 2) // BLOCK * BLOCK + 1
        rng = random.Random(context * 1000 + requests)
        prompts = [{"prompt_token_ids": rng.choices(range(10, 49000), k=length)} for _ in range(requests)]
        prefill = self._run(prompts, 1, True)
        rounds = [self._run(prompts, self._arguments.output_len + 1, False) for _ in range(self._arguments.rounds)]
        decode, share = (median(values) for values in zip(*rounds, strict=True))
        return Point(context, requests, prefill[0], decode, share)

    def _run(self, prompts: list[dict], output_tokens: int, is_prefill: bool) -> tuple[float, float]:
        """Tokens a second of the steps of one kind, and the share of the nearer limit that they reached."""
        from vllm import SamplingParams
        from vllm.profiling.roofline import observe, share

        params = SamplingParams(temperature=0, max_tokens=output_tokens, ignore_eos=True, detokenize=False)
        with observe() as observation:
            self._llm.generate(prompts, params, use_tqdm=False)
        steps = [step for step in observation.steps if step.is_prefill == is_prefill]
        reached = share(steps, self._cost, self._limits)
        tokens = sum(sequence.count for step in steps for sequence in step.sequences)
        return tokens / reached.seconds, max(reached.memory, reached.arithmetic)


def run(arguments: argparse.Namespace) -> list[Point]:
    points = wanted_points(arguments)
    known = {}
    if arguments.resume and arguments.json.exists():
        known = {(p["context"], p["requests"]): Point(**p) for p in json.loads(arguments.json.read_text())}
    missing = [point for point in points if point not in known]
    sweep = Sweep(missing, arguments) if missing else None
    for number, (context, requests) in enumerate(missing, start=1):
        began = time.perf_counter()
        point = known[context, requests] = sweep.measure(context, requests)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps([p._asdict() for p in known.values()], indent=1) + "\n")
        print(
            f"{number}/{len(missing)} {requests} x {context}: prefill {point.prefill:.0f}, decode {point.decode:.0f} "
            f"tok/s, {100 * point.share:.0f} % of the limit ({time.perf_counter() - began:.0f} s)",
            file=sys.stderr,
            flush=True,
        )
    return [known[point] for point in points]


def main() -> None:
    arguments = parse_arguments()
    points = run(arguments)
    if not points:
        sys.exit("no point fits into the free memory: give smaller --contexts or --concurrency")
    print(table(points))
    if arguments.update_docs:
        report_page(points, ROOT / "docs")


if __name__ == "__main__":
    main()
