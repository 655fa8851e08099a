"""Layers in compressed-tensors' formats, written by that library itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from support.quantized_checkpoints import GROUP, Format, Stored, dequantized, round_to_codes

try:
    import compressed_tensors  # noqa: F401
except ImportError:
    COMPRESSED: dict[str, Format] = {}
else:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    def _store(form: str, scheme: QuantizationScheme) -> Callable[[Tensor, Tensor], Stored]:
        def store(weight: Tensor, order: Tensor) -> Stored:
            bits, symmetric = scheme.weights.num_bits, scheme.weights.symmetric
            if scheme.weights.type == "float":
                scale = weight.abs().amax(1, keepdim=True) / 448
                state = {"weight": weight, "weight_scale": scale}
                reference = (weight / scale).to(torch.float8_e4m3fn).float() * scale
            else:
                group = scheme.weights.group_size or weight.shape[1]
                codes, scales, zeros = round_to_codes(weight, bits, group, symmetric)
                reference = dequantized(codes, scales, zeros)
                signed = (zeros - 2 ** (bits - 1)).to(torch.int8)
                state = {"weight": weight, "weight_scale": scales, "weight_zero_point": signed}
            compressor = BaseCompressor.get_value_from_registry(form)
            stored = compressor.compress(state, scheme)
            return stored, reference

        return store

    def _format(form: str, **weights: object) -> Format:
        inputs = weights.pop("inputs", None)
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights), input_activations=inputs)
        group = scheme.model_dump(mode="json")
        config = {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}
        return Format(config, _store(form, scheme), exact=weights.get("type") == "float")

    _TOKEN = QuantizationArgs(num_bits=8, dynamic=True, strategy="token")
    COMPRESSED = {
        "w4a16": _format("pack-quantized", num_bits=4, strategy="group", group_size=GROUP),
        "w4a16_zeros": _format("pack-quantized", num_bits=4, strategy="group", group_size=GROUP, symmetric=False),
        "w4a16_channel": _format("pack-quantized", num_bits=4, strategy="channel"),
        "w8a16": _format("pack-quantized", num_bits=8, strategy="group", group_size=GROUP),
        "w8a8": _format("int-quantized", num_bits=8, strategy="channel", inputs=_TOKEN),
        "w8a8_fp8": _format("float-quantized", num_bits=8, type="float", strategy="channel", inputs=None),
    }
