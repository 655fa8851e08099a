"""Runs the model's forward pass on a device: inputs are sent there, decode steps replayed where that is asked for."""

import torch
from torch import Tensor

from vllm.attention.sdpa import torch_kernels
from vllm.attention.step_input import StepInput
from vllm.config import VllmConfig
from vllm.models.interface import Model
from vllm.worker.decode_graphs import DecodeGraphs
from vllm.worker.device_input import DeviceInput


class DeviceStep:
    """Steps of `model` over a KV cache of `num_blocks` and a block for padding (attention/sdpa.py)."""

    def __init__(self, model: Model, config: VllmConfig, num_blocks: int):
        limits, block_size = config.scheduler_config, config.cache_config.block_size
        where = config.device_config
        device, max_blocks = torch.device(where.device), -(-config.model_config.max_model_len // block_size)
        # Before the model, so that it goes before the model: NCCL's groups wait until no graph has captured them.
        self.graphs: DecodeGraphs | None = None
        if where.replays_steps:
            self.graphs = DecodeGraphs(limits.max_num_seqs, max_blocks, device)
        self._model = model
        self.logits, self.greedy_tokens = model.logits, model.greedy_tokens
        self._input = DeviceInput(
            device, limits.max_num_seqs, limits.max_num_batched_tokens, max_blocks, num_blocks, block_size
        )

    def forward(self, step: StepInput) -> Tensor:
        """As Model.forward, of a step on the host; the result is on the device."""
        with torch_kernels():
            return self._forward(step)

    def _forward(self, step: StepInput) -> Tensor:
        shape = None if self.graphs is None else self.graphs.shape_for(step)
        sent = self._input.send(step, shape)
        if self.graphs is None or shape is None:
            return self._model.forward(sent)

        def forward() -> Tensor:
            sent.plan = None  # made of what the tensors held; made anew, it is part of what is captured
            return self._model.forward(sent)

        return self.graphs.run(shape, forward)[: step.num_tokens]
