#!/usr/bin/env python3
"""What prompt lookup gains: decoding with and without drafts, the share of drafted tokens that the model accepts.

    python benchmarks/ngram.py --model MODEL [--requests 1] [--drafted 4] [--output-len 256] [--rounds 3] [TEXT ...]

Each TEXT is repeated to --input-len tokens, as a quoted source or a table would be; the default is a few sentences.
Greedy answers must be the same both ways. Rounds alternate; rates are medians of output tokens a second.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from vllm import LLM, SamplingParams

TEXTS = [
    "The cache holds keys and values of every token that was computed. A block has thirty-two of them.",
    "name,size,limit\nprefill,512,441\ndecode,16,123\n",
]


def prompts(llm: LLM, texts: list[str], count: int, length: int) -> list[dict[str, list[int]]]:
    encode = llm.get_tokenizer().encode
    sequences = [encode(text) for text in texts]
    chosen = [sequences[i % len(sequences)] for i in range(count)]
    return [{"prompt_token_ids": (tokens * (length // len(tokens) + 1))[:length]} for tokens in chosen]


def load(arguments: argparse.Namespace, drafted: int) -> LLM:
    speculative = {"method": "ngram", "num_speculative_tokens": drafted} if drafted else None
    length = arguments.input_len + arguments.output_len
    return LLM(arguments.model, max_model_len=length, enable_prefix_caching=True, speculative_config=speculative)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", metavar="TEXT", default=TEXTS, help="text to repeat")
    parser.add_argument("--model", required=True, help="folder or name of a model")
    parser.add_argument("--requests", type=int, default=1, help="sequences at once (default 1)")
    parser.add_argument("--drafted", type=int, default=4, help="most tokens of a draft (default 4)")
    parser.add_argument("--input-len", type=int, default=128, help="tokens of a prompt (default 128)")
    parser.add_argument("--output-len", type=int, default=256, help="tokens of an answer (default 256)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default 3)")
    arguments = parser.parse_args()
    engines = [load(arguments, drafted) for drafted in (0, arguments.drafted)]
    params = SamplingParams(temperature=0, max_tokens=arguments.output_len, ignore_eos=True, detokenize=False)
    rates: list[list[float]] = [[], []]
    for _ in range(arguments.rounds + 1):  # the first warms up and fills the prefix cache
        answers = []
        for llm, measured in zip(engines, rates, strict=True):
            inputs = prompts(llm, arguments.texts, arguments.requests, arguments.input_len)
            started = time.perf_counter()
            outputs = llm.generate(inputs, params, use_tqdm=False)
            measured.append(arguments.requests * arguments.output_len / (time.perf_counter() - started))
            answers.append([output.outputs[0].token_ids for output in outputs])
        if answers[0] != answers[1]:
            sys.exit("answers differ with drafts")
    plain, drafted = (statistics.median(measured[1:]) for measured in rates)
    stats = engines[1].llm_engine.stats()
    accepted = stats.num_accepted_tokens / max(stats.num_draft_tokens, 1)
    print(
        f"{arguments.requests} requests: {plain:.1f} tokens a second, {drafted:.1f} with drafts of {arguments.drafted} "
        f"({drafted / plain:.2f}x); {accepted:.0%} of {stats.num_draft_tokens} drafted tokens accepted"
    )


if __name__ == "__main__":
    main()
