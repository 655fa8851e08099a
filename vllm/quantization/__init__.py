"""How quantised checkpoints store linear layers: a file a method, imported when a model needs it. No torch here."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.exceptions import ModelError, VLLMValidationError
from vllm.quantization.older_files import read_older_config

if TYPE_CHECKING:
    from vllm.quantization.base import LinearMethod

# What config.json's quantization_config.quant_method names.
_CHECKPOINT_METHODS = {
    "gptq": "vllm.quantization.gptq:GPTQ",
    "awq": "vllm.quantization.awq:AWQ",
    "compressed-tensors": "vllm.quantization.compressed_tensors:CompressedTensors",
    "fp8": "vllm.quantization.fp8:Fp8",
}
# What --quantization does to a model in floating point while it is loaded.
_LOAD_METHODS = {
    "int8": "vllm.quantization.at_load:Int8",
    "int4": "vllm.quantization.at_load:Int4",
}
# vLLM's names for the same checkpoints on other kernels.
_ALIASES = {
    "auto_gptq": "gptq",
    "gptq_marlin": "gptq",
    "marlin": "gptq",
    "auto_awq": "awq",
    "awq_marlin": "awq",
}


def with_quantization_config(hf_config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`hf_config` with the quantization_config that is in a file of its own where config.json has none."""
    older = None if _stored_config(hf_config) is not None else read_older_config(folder)
    return hf_config if older is None else {**hf_config, "quantization_config": older}


def check_requested(requested: str | None) -> None:
    """Raises VLLMValidationError for a method that there is not, whatever the checkpoint."""
    name = _ALIASES.get(requested or "", requested)
    if name is not None and name not in _LOAD_METHODS and name not in _CHECKPOINT_METHODS:
        offered = ", ".join([*_LOAD_METHODS, *_CHECKPOINT_METHODS])
        raise VLLMValidationError(f"quantization={requested!r} is not accepted: give one of {offered}", "quantization")


def choose_method(requested: str | None, hf_config: dict[str, Any], folder: Path) -> str | None:
    """Name of the method that a model is loaded with; None for floating point.

    Raises:
        VLLMValidationError: `requested` is unknown or does not fit the checkpoint.
        ModelError: the checkpoint's method is unknown, or its options are not supported.
    """
    check_requested(requested)
    config = _stored_config(hf_config)
    name = _ALIASES.get(requested or "", requested)
    if config is None:
        if name in _CHECKPOINT_METHODS:
            raise VLLMValidationError(
                f"quantization={requested!r} is not accepted: {folder} is not quantised; to quantise it while it is "
                f"loaded give {' or '.join(_LOAD_METHODS)}",
                "quantization",
            )
        return name
    stored = config.get("quant_method") if isinstance(config, dict) else None
    if stored not in _CHECKPOINT_METHODS:
        known = ", ".join(_CHECKPOINT_METHODS)
        raise ModelError(f"{folder} is quantised by {stored!r}, which is not supported; supported are {known}")
    if name not in (None, stored):
        raise VLLMValidationError(
            f"quantization={requested!r} is not accepted: {folder} is quantised by {stored}; leave it out",
            "quantization",
        )
    return stored


def linear_method(name: str | None, hf_config: dict[str, Any]) -> "LinearMethod":
    """The method of that name, made from config.json. ModelError where its options are not supported."""
    module, _, attribute = {**_CHECKPOINT_METHODS, **_LOAD_METHODS}.get(
        name or "", "vllm.quantization.base:LinearMethod"
    ).partition(":")
    return getattr(importlib.import_module(module), attribute)(_stored_config(hf_config) or {})


def _stored_config(hf_config: dict[str, Any]) -> Any:
    """What config.json says about the checkpoint's quantisation; None where it says nothing."""
    config = hf_config.get("quantization_config")
    return hf_config.get("compression_config") if config is None else config
