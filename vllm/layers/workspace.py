"""Activations that all layers share, allocated once for the largest step."""

import torch
from torch import Tensor


class Workspace:
    """Named [tokens, width] buffers. Views for a step's number of tokens are made once and kept for the next step."""

    def __init__(self, max_tokens: int, dtype: torch.dtype, device: torch.device, widths: dict[str, int]):
        self._buffers = {
            name: torch.empty(max_tokens, width, dtype=dtype, device=device) for name, width in widths.items()
        }
        self._num_tokens = -1
        self._views: dict[str, Tensor] = {}

    def views(self, num_tokens: int) -> dict[str, Tensor]:
        """Each buffer's first `num_tokens` rows; contents are whatever the last step left."""
        if num_tokens != self._num_tokens:
            self._views = {name: buffer[:num_tokens] for name, buffer in self._buffers.items()}
            self._num_tokens = num_tokens
        return self._views
