"""Quantises a model in floating point while it is loaded (--quantization int8, int4)."""

from torch import Tensor

from vllm.checkpoint import Checkpoint
from vllm.kernels.quantized_linear import INT4_GROUP, quantize_weight
from vllm.partition import WHOLE_LAYER, Tile
from vllm.quantization.base import MAX_INPUT_GROUP, LinearMethod, QuantizedWeight


class Int8(LinearMethod):
    """8-bit weights with a scale a row; the input in groups of 128 columns with a scale each."""

    quantizes = True

    def read(
        self, checkpoint: Checkpoint, name: str, rows: int, columns: int, tile: Tile = WHOLE_LAYER
    ) -> QuantizedWeight:
        return self.quantized(super().read(checkpoint, name, rows, columns, tile))

    def quantized(self, weight: Tensor) -> QuantizedWeight:
        """weight [n, k] in floating point."""
        return QuantizedWeight(*quantize_weight(weight.cpu(), 8), None, bits=8, group_size=MAX_INPUT_GROUP)


class Int4(Int8):
    """4-bit weights and 8-bit inputs in groups of 32 columns with a scale each, as llama.cpp's Q4_0 times Q8_0."""

    def quantized(self, weight: Tensor) -> QuantizedWeight:
        """weight [n, k] in floating point."""
        return QuantizedWeight(*quantize_weight(weight.cpu(), 4), None, bits=4, group_size=INT4_GROUP)
