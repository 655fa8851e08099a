#!/usr/bin/env python3
"""What splitting a model among processes takes or saves: milliseconds of steps with one rank and with several.

    python benchmarks/tensor_parallel.py --model MODEL [--ranks 2 ...] [--sequences 1 16] [--input-len 128] [--rounds 3]

Rounds go through the numbers of ranks in turn; figures are medians, with the lowest and the highest. A decode step is
the difference of answers of 33 tokens and of 1, by 32; a prefill is an answer of 1 token to one prompt of --prefill.
Each engine has a process of its own, as it binds threads to cores, and rests while another is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import statistics
import sys
import time
from multiprocessing.connection import Connection

from vllm import LLM, SamplingParams

DECODED = 32  # steps


def load(arguments: argparse.Namespace, ranks: int) -> LLM:
    length = max(arguments.input_len, arguments.prefill) + DECODED + 1
    tokens = max(length, max(arguments.sequences) * (arguments.input_len + DECODED + 1))
    return LLM(
        arguments.model, max_model_len=length, num_gpu_blocks_override=tokens // 16 + 64, block_size=16,
        enable_prefix_caching=False, skip_tokenizer_init=True, tensor_parallel_size=ranks,
    )  # fmt: skip


def seconds(llm: LLM, count: int, length: int, answer: int) -> float:
    vocabulary = llm.llm_engine.config.model_config.vocab_size
    draw = random.Random(count)
    prompts = [{"prompt_token_ids": [draw.randrange(vocabulary) for _ in range(length)]} for _ in range(count)]
    params = SamplingParams(temperature=0, max_tokens=answer, ignore_eos=True, detokenize=False)
    started = time.perf_counter()
    llm.generate(prompts, params, use_tqdm=False)
    return time.perf_counter() - started


def measure(llm: LLM, arguments: argparse.Namespace) -> list[float]:
    """Milliseconds: a decode step of each number of sequences, then a prefill."""
    steps = [
        seconds(llm, count, arguments.input_len, 1 + DECODED) - seconds(llm, count, arguments.input_len, 1)
        for count in arguments.sequences
    ]
    return [1000 * step / DECODED for step in steps] + [1000 * seconds(llm, 1, arguments.prefill, 1)]


def engine(arguments: argparse.Namespace, ranks: int, connection: Connection) -> None:
    """Loads, then measures whenever it is asked to, until the other end is closed."""
    try:
        llm = load(arguments, ranks)
    except ValueError as error:  # a refusal, or a model that cannot be read
        sys.exit(str(error))
    with contextlib.suppress(EOFError):
        while connection.recv():
            connection.send(measure(llm, arguments))


def start(arguments: argparse.Namespace, ranks: int) -> Connection:
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=engine, args=(arguments, ranks, theirs)).start()
    theirs.close()  # so that an engine that fails ends what waits for it
    return ours


def asked(connection: Connection) -> list[float]:
    connection.send(True)
    return connection.recv()


def shown(times: tuple[float, ...]) -> str:
    return f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or name of a model")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2], help="beside one rank (default 2)")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 16], help="that decode at once (default 1 16)")
    parser.add_argument("--input-len", type=int, default=128, help="tokens of their prompts (default 128)")
    parser.add_argument("--prefill", type=int, default=900, help="tokens of the prompt of a prefill (default 900)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default 3)")
    arguments = parser.parse_args()
    columns = [1, *arguments.ranks]
    engines = [start(arguments, ranks) for ranks in columns]
    try:
        rounds = [[asked(each) for each in engines] for _ in range(1 + arguments.rounds)]
    except (EOFError, OSError):
        sys.exit("an engine has failed; it says above why")
    finally:
        for each in engines:
            each.close()
    del rounds[0]  # which warmed up
    print("| milliseconds | " + " | ".join(f"{ranks} rank{'s' * (ranks > 1)}" for ranks in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    rows = [f"decode step of {count}" for count in arguments.sequences] + [f"prefill of {arguments.prefill} tokens"]
    for row, name in enumerate(rows):
        cells = (shown(tuple(one[column][row] for one in rounds)) for column in range(len(columns)))
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
