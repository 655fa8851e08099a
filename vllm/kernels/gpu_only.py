"""Ops of ``_C`` that only its builds for GPUs have."""

from __future__ import annotations

from typing import Any

import torch

from vllm.kernels import load


def ops(namespace: str, name: str, lacking: str) -> Any:
    """``torch.ops.<namespace>``, where this build of vllm has the op `name`.

    Raises:
        ImportError: where it has not; `lacking` ends "this build of vllm ...".
    """
    load()
    found = getattr(torch.ops, namespace)
    if not hasattr(found, name):
        raise ImportError(f"this build of vllm {lacking}: conda install 'vllm=*=cuda*'")
    return found
