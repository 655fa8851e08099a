"""Requests to measure with: random tokens of given lengths, or conversations from a ShareGPT file."""

import argparse
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vllm.entrypoints.cli.bench.options import real_number, whole_number
from vllm.entrypoints.cli.registry import UsageError

# Conversations outside these lengths are left out, as vLLM's benchmarks do.
_MIN_TOKENS, _MAX_PROMPT_TOKENS, _MAX_TOKENS = 4, 1024, 2048


@dataclass(frozen=True)
class Sample:
    """A prompt, as token ids or as text, and the number of tokens to generate for it."""

    prompt: list[int] | str
    output_len: int


def add_dataset_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("requests")
    group.add_argument("--num-prompts", type=whole_number(1), default=1000, metavar="N", help="requests (default 1000)")
    group.add_argument(
        "--dataset-name",
        choices=("random", "sharegpt"),
        default="random",
        help="where prompts come from (default random)",
    )
    group.add_argument("--dataset-path", metavar="FILE", help="the ShareGPT file (JSON)")
    group.add_argument(
        "--random-input-len", type=whole_number(1), default=1024, metavar="N", help="prompt tokens (default 1024)"
    )
    group.add_argument(
        "--random-output-len", type=whole_number(1), default=128, metavar="N", help="tokens to generate (default 128)"
    )
    group.add_argument(
        "--random-prefix-len",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="tokens before these that all prompts share (default 0)",
    )
    group.add_argument(
        "--random-range-ratio",
        type=real_number(0, 1),
        default=0.0,
        metavar="R",
        help="lengths vary evenly from (1-R) to (1+R) of those given (default 0)",
    )
    for name in ("input", "output", "prefix"):
        same = f"--random-{name}-len"
        group.add_argument(f"--{name}-len", type=whole_number(1), metavar="N", help=f"the same as {same}")
    group.add_argument(
        "--sharegpt-output-len",
        type=whole_number(1),
        metavar="N",
        help="tokens to generate in place of the file's answers",
    )


def check_dataset_flags(args: argparse.Namespace) -> None:
    """Lets the short names of lengths win. Raises UsageError where the flags do not fit together."""
    for name in ("input_len", "output_len", "prefix_len"):
        setattr(args, f"random_{name}", getattr(args, name) or getattr(args, f"random_{name}"))
    args.sharegpt_output_len = args.sharegpt_output_len or args.output_len
    if (args.dataset_name == "sharegpt") != (args.dataset_path is not None):
        raise UsageError("--dataset-name sharegpt and --dataset-path FILE go together: give both or neither")


def make_samples(
    args: argparse.Namespace, token_pool: Sequence[int], count_tokens: Callable[[str], int], seed: int
) -> list[Sample]:
    """The requests that the flags describe; the same for the same seed.

    Args:
        token_pool: token ids that random prompts are drawn from.
        count_tokens: length of a text in tokens.
    """
    rng = random.Random(seed)
    if args.dataset_name == "random":
        return _random_samples(args, token_pool, rng)
    return _sharegpt_samples(args, count_tokens, rng)


def _random_samples(args: argparse.Namespace, token_pool: Sequence[int], rng: random.Random) -> list[Sample]:
    def vary(length: int) -> int:
        return max(
            1, rng.randint(round(length * (1 - args.random_range_ratio)), round(length * (1 + args.random_range_ratio)))
        )

    prefix = rng.choices(token_pool, k=args.random_prefix_len)
    return [
        Sample(prefix + rng.choices(token_pool, k=vary(args.random_input_len)), vary(args.random_output_len))
        for _ in range(args.num_prompts)
    ]


def _sharegpt_samples(args: argparse.Namespace, count_tokens: Callable[[str], int], rng: random.Random) -> list[Sample]:
    exchanges = read_exchanges(args.dataset_path)
    rng.shuffle(exchanges)
    samples: list[Sample] = []
    for prompt, reply in exchanges:
        prompt_len = count_tokens(prompt)
        output_len = args.sharegpt_output_len or count_tokens(reply)
        fits = _MIN_TOKENS <= prompt_len <= _MAX_PROMPT_TOKENS and prompt_len + output_len <= _MAX_TOKENS
        if fits and (args.sharegpt_output_len or output_len >= _MIN_TOKENS):
            samples.append(Sample(prompt, output_len))
        if len(samples) == args.num_prompts:
            return samples
    raise UsageError(
        f"--dataset-path {args.dataset_path} has {len(samples)} usable conversations: "
        f"lower --num-prompts from {args.num_prompts}"
    )


def read_exchanges(path: str) -> list[tuple[str, str]]:
    """First question and answer of each conversation."""
    try:
        with open(path, encoding="utf-8") as file:
            turns = [entry["conversations"] for entry in json.load(file)]
        return [(first["value"], second["value"]) for first, second, *_ in (t for t in turns if len(t) >= 2)]
    except OSError as error:
        raise UsageError(f"--dataset-path {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise UsageError(
            f'--dataset-path {path}: expected is a JSON list of {{"conversations": [{{"value": TEXT}}, ...]}}'
        ) from None
