"""How much of a GPU's memory the KV cache may have: what is left beside weights and the largest steps."""

from dataclasses import dataclass

import torch

from vllm.attention.cache_format import CacheFormat
from vllm.attention.step_input import StepInput
from vllm.config import VllmConfig
from vllm.models.interface import Model
from vllm.sampling.sampler import Sampler
from vllm.worker.device_step import DeviceStep
from vllm.worker.kv_cache import allocate


@dataclass(frozen=True)
class MemoryUse:
    """Of one device, in bytes.

    Attributes:
        total: what the device has.
        others: taken beside torch's allocator: other processes, the driver's context.
        weights: what tensors took before the first step.
        most: most that they took at once: weights and activations.
    """

    total: int
    others: int
    weights: int
    most: int

    def left(self, share: float, with_graphs: bool) -> int:
        """Bytes for the KV cache when everything together may take `share` of the device; 0 where nothing is left.

        Captured steps keep memory of their own for activations (worker/decode_graphs.py).
        """
        captured = self.most - self.weights if with_graphs else 0
        return max(0, int(self.total * share) - self.others - self.most - captured)


def measure(model: Model, sampler: Sampler, config: VllmConfig, format: CacheFormat) -> MemoryUse:
    """Runs the largest steps on the CUDA device over a KV cache of one block, and frees what they took."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    weights = torch.cuda.memory_allocated()
    run_largest_steps(model, sampler, config, format)
    torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return MemoryUse(total, total - free - torch.cuda.memory_reserved(), weights, most)


@torch.inference_mode()
def run_largest_steps(model: Model, sampler: Sampler, config: VllmConfig, format: CacheFormat) -> None:
    """One step of prompts with as many tokens as a step may have, one of as many sequences as long as they may be.

    All tokens share one block of a KV cache that lives as long as this call: results mean nothing.
    """
    limits, longest = config.scheduler_config, config.model_config.max_model_len
    block_size = config.cache_config.block_size
    caches = allocate(model.attentions, 1, block_size, format, config.device_config)
    for attention, cache in zip(model.attentions, caches, strict=True):
        attention.bind(cache)
    device_step = DeviceStep(model, config, num_blocks=1)
    device_step.graphs = None
    prompts = _split(limits.max_num_batched_tokens, longest, limits.max_num_seqs)
    guessed = 0 if config.speculative_config is None else config.speculative_config.num_speculative_tokens
    rows = limits.max_num_seqs * (1 + guessed)  # of logits, of a step of as many tokens
    for counts, starts in (
        (prompts, [0] * len(prompts)),
        ([1] * limits.max_num_seqs, [longest - 1] * limits.max_num_seqs),
    ):
        hidden = device_step.forward(_made_up_step(counts, starts, block_size))
        sampler.rehearse(model.logits(hidden[:rows]))
    for attention in model.attentions:
        attention.unbind()


def _split(tokens: int, longest: int, most: int) -> list[int]:
    """Lengths of at most `most` sequences of at most `longest` tokens, `tokens` together or as many as fit."""
    counts = []
    while tokens > 0 and len(counts) < most:
        counts.append(min(tokens, longest))
        tokens -= counts[-1]
    return counts


def _made_up_step(counts: list[int], starts: list[int], block_size: int) -> StepInput:
    """Sequences with `starts` tokens before `counts` new ones, all of them in block 0; logits of all are wanted."""
    spans = list(zip(starts, counts, strict=True))
    positions = torch.cat([torch.arange(start, start + count) for start, count in spans])
    lengths = [start + count for start, count in spans]
    return StepInput(
        token_ids=torch.zeros_like(positions),
        positions=positions,
        slot_mapping=positions % block_size,
        query_start_loc=torch.tensor([0, *counts]).cumsum(0, dtype=torch.int32),
        seq_lens=torch.tensor(lengths, dtype=torch.int32),
        block_table=torch.zeros(len(counts), -(-max(lengths) // block_size), dtype=torch.int32),
        logits_indices=None,
        num_new_tokens=counts,
        starts=starts,
    )
