"""What every rank does to begin with."""

import os

import torch

from vllm.config import VllmConfig
from vllm.distributed.group import SINGLE_RANK, Group
from vllm.models.interface import Model
from vllm.platforms import current_platform
from vllm.worker.model_loader import load_model
from vllm.worker.runner import ModelRunner


def load_rank(config: VllmConfig, group: Group) -> Model:
    """This rank's part of the model; returns when every rank has its part, so that free memory can be counted."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(current_platform.num_threads(group.rank, group.size))
    model = load_model(config, group)
    group.smallest(0)
    return model


def single_rank_runner(config: VllmConfig) -> ModelRunner:
    """The whole model in this process."""
    return ModelRunner(config, lambda: load_rank(config, SINGLE_RANK), SINGLE_RANK)
