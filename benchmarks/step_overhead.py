#!/usr/bin/env python3
"""Microseconds of Python in a decoding step: scheduling, the step's tensors, taking results in; no kernels.

    python benchmarks/step_overhead.py [--batch 16] [--steps 200]

The model is replaced by one that does nothing, the sampler by one that always chooses the same token.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.tiny_model import write_tiny_model
from vllm import LLM, SamplingParams


def step_microseconds(batch: int, steps: int) -> list[float]:
    """Times of the steps in which all of `batch` sequences decode."""
    with tempfile.TemporaryDirectory() as folder:
        llm = LLM(str(write_tiny_model(Path(folder))), max_model_len=steps + 32, max_num_seqs=batch)
    core = llm.llm_engine._core
    runner, step, times = core._runner, core.step, []
    hidden, tokens = torch.zeros(batch * 8, 8), [5] * batch
    runner._model.forward = lambda step_input: hidden
    runner._model.logits = lambda rows: rows
    runner._sampler.sample = lambda logits, requests: (tokens[: len(requests)], {})

    def timed_step():
        started = time.perf_counter()
        outputs = step()
        if len(outputs) == batch:
            times.append((time.perf_counter() - started) * 1e6)
        return outputs

    core.step = timed_step
    params = SamplingParams(temperature=0, max_tokens=steps, ignore_eos=True, detokenize=False)
    llm.generate([{"prompt_token_ids": [3, 4, 5, i]} for i in range(batch)], params, use_tqdm=False)
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16, help="sequences (default 16)")
    parser.add_argument("--steps", type=int, default=200, help="steps (default 200)")
    arguments = parser.parse_args()
    times = step_microseconds(arguments.batch, arguments.steps)
    print(
        f"{arguments.batch} sequences: median {statistics.median(times):.0f} us a step, fastest tenth "
        f"{times[len(times) // 10]:.0f} us, over {len(times)} steps"
    )


if __name__ == "__main__":
    main()
