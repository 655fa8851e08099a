"""python -m support.fake_device MODEL ...: a forward pass of each over fake tensors of a device that is none.

An op that meets tensors of two devices, or reads a number of the device's, raises. Prints a JSON object of what was
wrong with each model, null for nothing. A program of its own: torch keeps the device as long as the process lives, and
ops of other tests would be asked for it.
"""

import json
import sys
import traceback

import torch
import torch.utils.backend_registration as backends
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from vllm.attention.cache_format import CacheFormat
from vllm.engine.arg_utils import EngineArgs
from vllm.worker.memory_profile import run_largest_steps
from vllm.worker.model_loader import load_model

NAME = "fakegpu"
NO_DEVICES = 3
"""Exit status where this torch cannot be taught a device from Python."""


class NoSampler:
    """Fake tensors hold no numbers to look at."""

    def rehearse(self, logits: torch.Tensor) -> None:
        self.logits = logits


def check(folder: str) -> None:
    arguments = {"dtype": "bfloat16", "load_format": "dummy", "attention_backend": "TORCH_SDPA", "max_num_seqs": 4}
    config = EngineArgs(model=folder, max_num_batched_tokens=600, **arguments).create_engine_config()
    config.device_config.device = NAME
    sampler = NoSampler()
    with FakeTensorMode():
        model = load_model(config)
        for cache_dtype in ("auto", "fp8_e4m3", "int8_per_token_head"):
            run_largest_steps(model, sampler, config, CacheFormat.of(cache_dtype, torch.bfloat16))
            assert sampler.logits.device.type == NAME
            assert sampler.logits.shape == (4, model.vocab_size)
        assert model.attentions[0].binding == -1
        try:
            torch.empty(3, device=NAME).nonzero()
        except DynamicOutputShapeException:
            return
        raise AssertionError("an op that waits for the device was not refused")


def _problem(folder: str) -> str | None:
    try:
        return check(folder)
    except Exception:
        return traceback.format_exc()


def main(folders: list[str]) -> int:
    set_up = getattr(backends, "_setup_privateuseone_for_python_backend", None)
    if set_up is None:
        return NO_DEVICES
    set_up(NAME)
    print(json.dumps({folder: _problem(folder) for folder in folders}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
