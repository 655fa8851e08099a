"""Serves measurements of llama.cpp (through llama-cpp-python): the protocol of worker_vllm.py, one sequence at a time.

python worker_llama.py MODEL.gguf MAX_MODEL_LEN
"""

import json
import os
import random
import sys
import time


def measure(llm, command: dict) -> float:
    rng = random.Random(command["seed"])
    prompt = [rng.randrange(10, 7000) for _ in range(command["prompt_tokens"])]
    llm.reset()
    start = time.perf_counter()
    llm.eval(prompt)
    prefill = time.perf_counter() - start
    if command["kind"] == "prefill":
        return len(prompt) / prefill
    steps = prompt[: command["output_tokens"]]
    start = time.perf_counter()
    for token in steps:
        llm.eval([token])
    return len(steps) / (time.perf_counter() - start)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    began = time.perf_counter()
    from llama_cpp import Llama

    threads = len(os.sched_getaffinity(0))
    llm = Llama(
        sys.argv[1], n_ctx=int(sys.argv[2]), n_threads=threads, n_threads_batch=threads, n_batch=512, verbose=False
    )
    llm.eval([1, 2, 3])
    print(json.dumps({"ready": time.perf_counter() - began}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"value": measure(llm, json.loads(line))}), file=answers, flush=True)


if __name__ == "__main__":
    main()
