"""From EngineArgs to a complete, checked VllmConfig."""

import logging
import typing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm import envs, kernels
from vllm.attention.registry import FLASH_BLOCK_SIZE, choose_backend
from vllm.config import (
    CacheConfig,
    DeviceConfig,
    LogprobsMode,
    ModelConfig,
    ParallelConfig,
    SchedulerConfig,
    SpeculativeConfig,
    VllmConfig,
)
from vllm.exceptions import ModelError, VLLMValidationError
from vllm.hf_config import HfConfig, architecture, max_position, positive_int, read_hf_config
from vllm.kernels.op_set import device_kernels
from vllm.model_path import download_weights, resolve_model
from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins
from vllm.quantization import check_requested, choose_method, with_quantization_config

if TYPE_CHECKING:
    from vllm.engine.arg_utils import EngineArgs

_log = logging.getLogger(__name__)
_DTYPES = {
    "bfloat16": "bfloat16",
    "float16": "float16",
    "half": "float16",
    "float32": "float32",
    "float": "float32",
}
# What the KV cache may be besides the model's dtype; int8 needs a scale for each token and head to be of use.
_CACHE_DTYPES = {
    "auto": "auto",
    "fp8": "fp8_e4m3",
    "fp8_e4m3": "fp8_e4m3",
    "fp8_e5m2": "fp8_e5m2",
    "fp8_per_token_head": "fp8_per_token_head",
    "int8": "int8_per_token_head",
    "int8_per_token_head": "int8_per_token_head",
}
_BLOCK_SIZES = (8, 16, 32, 64, 128, 256)
_QUANTIZED_BLOCK_MULTIPLE = 16
_AUTO_DTYPES = {"bfloat16": "bfloat16", "float16": "float16", "float32": "bfloat16"}
_GPU_BATCHED_TOKENS = 2048  # of a step: a GPU is full from more tokens on than a CPU
_DEFAULT_MAX_MODEL_LEN = 2048  # for models that do not say how long a sequence may be


def build_config(args: "EngineArgs") -> VllmConfig:
    _require_kernels()
    load_general_plugins()
    _warn_of_unused_gpu_kernels()
    # First: no model is looked for where this is refused.
    _check_what_needs_no_model(args)
    speculative = _speculative_config(args.speculative_config)
    model = _model_config(args)
    device = _device_config(args, model.dtype)
    config = VllmConfig(
        model_config=model,
        cache_config=_cache_config(args, model.dtype, device.attention_backend),
        scheduler_config=_scheduler_config(args, model.max_model_len, device.device),
        disable_log_stats=args.disable_log_stats,
        speculative_config=speculative,
        device_config=device,
        enable_sleep_mode=args.enable_sleep_mode,
        parallel_config=_parallel_config(args, device.device),
    )
    # Last: nothing large is downloaded for what is refused.
    if args.load_format != "dummy":
        download_weights(args.model, model.folder, download_dir=args.download_dir, hf_token=args.hf_token)
    return config


def _require_kernels() -> None:
    try:
        kernels.require()
    except ImportError as error:
        raise VLLMValidationError(str(error)) from None


def _warn_of_unused_gpu_kernels() -> None:
    built_for = kernels.target_device()
    if built_for in ("cuda", "rocm") and current_platform.is_cpu():
        _log.warning("vllm's %s build runs on the CPU: there is no GPU that the installed torch can use", built_for)


def _check_what_needs_no_model(args: "EngineArgs") -> None:
    check_requested(args.quantization)
    _check_choice("load_format", args.load_format, ("auto", "safetensors", "dummy"))
    _check_int("max_logprobs", args.max_logprobs, -1)
    _check_choice("logprobs_mode", args.logprobs_mode, typing.get_args(LogprobsMode))
    _check_int("seed", args.seed, -(2**63))


def _device_config(args: "EngineArgs", dtype: str) -> DeviceConfig:
    own_cache_dtype = args.kv_cache_dtype != "auto" and _DTYPES.get(args.kv_cache_dtype) != dtype
    backend = choose_backend(args.attention_backend, current_platform, dtype, own_cache_dtype, args.block_size)
    share = args.gpu_memory_utilization
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise VLLMValidationError(
            f"gpu_memory_utilization={share!r} is not accepted: give a share greater than 0 and at most 1",
            "gpu_memory_utilization",
        )
    if backend == "CPU_ATTN":
        return DeviceConfig(memory_utilization=share, enforce_eager=args.enforce_eager)
    return DeviceConfig(
        device=current_platform.device_type,
        attention_backend=backend,
        own_kernels=device_kernels(envs.VLLM_DEVICE_KERNELS),
        memory_utilization=share,
        enforce_eager=args.enforce_eager,
    )


def _model_config(args: "EngineArgs") -> ModelConfig:
    from vllm.models.registry import ModelRegistry

    source = {"download_dir": args.download_dir, "hf_token": args.hf_token}
    folder = resolve_model(args.model, revision=args.revision, **source)
    hf_config = with_quantization_config(read_hf_config(folder, args.hf_overrides), folder)
    name = architecture(hf_config, folder)
    ModelRegistry.check_supported(name)
    quantization = choose_method(args.quantization, hf_config, folder)
    tokenizer_folder = folder
    if args.tokenizer and not args.skip_tokenizer_init:
        tokenizer_folder = resolve_model(args.tokenizer, revision=args.tokenizer_revision, **source)
    names = args.served_model_name or [args.model]
    return ModelConfig(
        model=args.model,
        folder=folder,
        tokenizer_folder=tokenizer_folder,
        hf_config=HfConfig(hf_config),
        architecture=name,
        vocab_size=positive_int(hf_config, "vocab_size", folder),
        dtype=_dtype(args.dtype, hf_config, folder),
        max_model_len=_max_model_len(args.max_model_len, hf_config),
        fits_max_model_len=args.max_model_len == -1,
        seed=args.seed,
        load_format=args.load_format,
        quantization=quantization,
        tokenizer=args.tokenizer or args.model,
        skip_tokenizer_init=args.skip_tokenizer_init,
        max_logprobs=args.max_logprobs,
        logprobs_mode=args.logprobs_mode,
        generation_config=args.generation_config,
        override_generation_config=args.override_generation_config,
        served_model_name=[names] if isinstance(names, str) else list(names),
    )


def _dtype(given: str, hf_config: dict[str, Any], folder: Path) -> Any:
    if given in _DTYPES:
        return _DTYPES[given]
    _check_choice("dtype", given, ("auto", *_DTYPES))
    declared = str(hf_config.get("dtype") or hf_config.get("torch_dtype") or "float32").removeprefix("torch.")
    if declared not in _AUTO_DTYPES:
        accepted = ", ".join(_AUTO_DTYPES)
        raise ModelError(f"{folder / 'config.json'}: dtype {declared!r} is not supported ({accepted}); give --dtype")
    return _AUTO_DTYPES[declared]


def _max_model_len(given: int | None, hf_config: dict[str, Any]) -> int:
    limit = max_position(hf_config)
    if given is None or given == -1:
        return limit or _DEFAULT_MAX_MODEL_LEN
    _check_int("max_model_len", given, 1)
    if limit is not None and given > limit:
        raise VLLMValidationError(
            f"max_model_len={given} is not accepted: the model was made for at most {limit} tokens; "
            "give less, or change its rope settings or max_position_embeddings by hf_overrides",
            "max_model_len",
        )
    return given


def _cache_config(args: "EngineArgs", dtype: str, backend: str) -> CacheConfig:
    config = CacheConfig(memory_bytes=args.kv_cache_memory_bytes, num_blocks=args.num_gpu_blocks_override)
    if backend == "FLASH_ATTN":
        config.block_size = FLASH_BLOCK_SIZE
    if args.block_size is not None:
        config.block_size = args.block_size
    if args.enable_prefix_caching is not None:
        config.enable_prefix_caching = args.enable_prefix_caching
    if config.block_size not in _BLOCK_SIZES:
        raise VLLMValidationError(
            f"block_size={config.block_size!r} is not accepted: give one of {', '.join(map(str, _BLOCK_SIZES))}",
            "block_size",
        )
    for name in ("kv_cache_memory_bytes", "num_gpu_blocks_override"):
        if getattr(args, name) is not None:
            _check_int(name, getattr(args, name), 1)
    config.cache_dtype = _cache_dtype(args.kv_cache_dtype, dtype, config.block_size)
    return config


def _cache_dtype(given: str, dtype: str, block_size: int) -> Any:
    if _DTYPES.get(given) == dtype:
        return "auto"
    _check_choice("kv_cache_dtype", given, (*_CACHE_DTYPES, dtype))
    if given != "auto" and block_size % _QUANTIZED_BLOCK_MULTIPLE:
        raise VLLMValidationError(
            f"kv_cache_dtype={given!r} is not accepted with block_size={block_size}: "
            f"give a block_size that is a multiple of {_QUANTIZED_BLOCK_MULTIPLE}",
            "kv_cache_dtype",
        )
    return _CACHE_DTYPES[given]


def _scheduler_config(args: "EngineArgs", max_model_len: int, device: str) -> SchedulerConfig:
    config = SchedulerConfig(policy=args.scheduling_policy)  # type: ignore[arg-type]
    if device != "cpu":
        config.max_num_batched_tokens = _GPU_BATCHED_TOKENS
    _check_choice("scheduling_policy", args.scheduling_policy, ("fcfs", "priority"))
    if args.enable_chunked_prefill is False:
        config.enable_chunked_prefill = False
        config.max_num_batched_tokens = max(config.max_num_batched_tokens, max_model_len)
    for name in ("max_num_seqs", "max_num_batched_tokens"):
        if getattr(args, name) is not None:
            _check_int(name, getattr(args, name), 1)
            setattr(config, name, getattr(args, name))
    if args.max_num_seqs is None:
        config.max_num_seqs = min(config.max_num_seqs, config.max_num_batched_tokens)
    if config.max_num_batched_tokens < config.max_num_seqs:
        raise VLLMValidationError(
            f"max_num_batched_tokens={config.max_num_batched_tokens} is not accepted: it must be at least "
            f"max_num_seqs, which is {config.max_num_seqs}",
            "max_num_batched_tokens",
        )
    if not config.enable_chunked_prefill and config.max_num_batched_tokens < max_model_len:
        raise VLLMValidationError(
            f"max_num_batched_tokens={config.max_num_batched_tokens} is not accepted without chunked prefill: "
            f"it must be at least max_model_len, which is {max_model_len}",
            "max_num_batched_tokens",
        )
    return config


def _parallel_config(args: "EngineArgs", device: str) -> ParallelConfig:
    size = args.tensor_parallel_size
    _check_int("tensor_parallel_size", size, 1)
    if device != "cpu" and size > 1 and size > current_platform.device_count():
        raise VLLMValidationError(
            f"tensor_parallel_size={size} is not accepted: this process sees {current_platform.device_count()} GPUs, "
            "and each rank needs one; give at most that many, or attention_backend CPU_ATTN to run on the CPU",
            "tensor_parallel_size",
        )
    if size > 1 and args.distributed_executor_backend == "uni":
        raise VLLMValidationError(
            f"distributed_executor_backend='uni' is not accepted with tensor_parallel_size={size}: give mp",
            "distributed_executor_backend",
        )
    return ParallelConfig(size)


def _speculative_config(given: dict[str, Any] | None) -> SpeculativeConfig | None:
    if given is None:
        return None
    name = "speculative_config"
    if isinstance(given, dict) and given.get("model") == "ngram":  # upstream's short form
        given = {"method": "ngram", **{key: value for key, value in given.items() if key != "model"}}
    known = [each.name for each in fields(SpeculativeConfig)]
    if not isinstance(given, dict) or not set(given) <= set(known) or given.get("method") != "ngram":
        raise VLLMValidationError(
            f'{name}={given!r} is not accepted: give {{"method": "ngram", "num_speculative_tokens": 4}}, and if you '
            "like prompt_lookup_max and prompt_lookup_min; other methods are not offered",
            name,
        )
    config = SpeculativeConfig(**{"num_speculative_tokens": 4, **given})
    for each in known[1:]:
        _check_int(f"{name}.{each}", getattr(config, each), 1)
    if config.prompt_lookup_min > config.prompt_lookup_max:
        if "prompt_lookup_min" not in given:
            return replace(config, prompt_lookup_min=config.prompt_lookup_max)
        if "prompt_lookup_max" not in given:
            return replace(config, prompt_lookup_max=config.prompt_lookup_min)
        raise VLLMValidationError(
            f"{name}.prompt_lookup_min={config.prompt_lookup_min} is not accepted: it must be at most "
            f"prompt_lookup_max, which is {config.prompt_lookup_max}",
            name,
        )
    return config


def _check_choice(name: str, value: Any, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise VLLMValidationError(f"{name}={value!r} is not accepted: give one of {', '.join(accepted)}", name)


def _check_int(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise VLLMValidationError(f"{name}={value!r} is not accepted: give an integer from {low}", name)
