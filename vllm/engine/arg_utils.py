# ruff: noqa: RUF009 (calls in defaults make dataclass fields)
"""Engine arguments: one dataclass, read by Python callers and turned into command line flags. No torch."""

import argparse
import dataclasses
import json
import os
from dataclasses import dataclass, field
from typing import Any

from vllm.config import VllmConfig
from vllm.engine.arg_types import add_dataclass_flags, check_types, token_count, token_count_or_auto
from vllm.engine.upstream_arguments import takes_names_of_vllm
from vllm.exceptions import NotOfferedError


def _arg(default: Any, text: str, **options: Any) -> Any:
    """A field with its help text. Options: choices, parse (the command line's text), also (more flags), group."""
    metadata = {"help": text, **options}
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def _not_offered(default: Any, *also_accepted: Any, **options: Any) -> Any:
    """A field of vLLM's interface that must keep its default, or a value that means the same. Options: also."""
    return field(default=default, metadata={"not_offered": True, "accepted": (default, *also_accepted), **options})


@takes_names_of_vllm
@dataclass
class EngineArgs:
    """vLLM's engine arguments, with its names. What this version does not offer is refused by name.

    Raises:
        VLLMValidationError: for a value that is not accepted, naming the field, and for an unknown name.
        NotOfferedError: for a field at the end of this list, or another of vLLM's, that is not at its default.
    """

    model: str = _arg(
        "Qwen/Qwen3-0.6B", "folder with config.json, installed model, or Hugging Face name", group="model"
    )
    tokenizer: str | None = _arg(None, "folder or name of the tokenizer (default: the model's)", group="model")
    skip_tokenizer_init: bool = _arg(False, "take and return token ids only", group="model")
    trust_remote_code: bool = _arg(False, "accepted; code from a model folder is never run", group="model")
    revision: str | None = _arg(None, "branch, tag or commit on Hugging Face", group="model")
    tokenizer_revision: str | None = _arg(None, "the same for the tokenizer", group="model")
    hf_token: str | bool | None = _arg(None, "Hugging Face token", group="model")
    download_dir: str | None = _arg(None, "where downloads are kept", group="model")
    load_format: str = _arg(
        "auto", "auto, safetensors, or dummy (random weights)", choices=("auto", "safetensors", "dummy"), group="model"
    )
    dtype: str = _arg(
        "auto",
        "type of weights and activations; auto: the checkpoint's, bfloat16 for float32 ones",
        choices=("auto", "bfloat16", "float16", "half", "float32", "float"),
        group="model",
    )
    quantization: str | None = _arg(
        None,
        "int8 or int4: quantise a model in floating point while it is loaded; a quantised one says its method itself",
        also=("-q",),
        group="model",
    )
    max_model_len: int | None = _arg(
        None, "longest prompt plus answer, in tokens (1k = 1000, 1K = 1024)", parse=token_count_or_auto, group="model"
    )
    hf_overrides: dict[str, Any] = _arg({}, "JSON: values that replace config.json's", parse=json.loads, group="model")
    generation_config: str = _arg(
        "auto", "default sampling: auto (the model's), vllm (vLLM's own), or a folder", group="model"
    )
    override_generation_config: dict[str, Any] = _arg(
        {}, "JSON: values that replace generation_config.json's", parse=json.loads, group="model"
    )
    served_model_name: list[str] | str | None = _arg(None, "names under which the model is served", group="model")
    max_logprobs: int = _arg(20, "most logprobs that a request may ask for; -1: the vocabulary", group="model")
    logprobs_mode: str = _arg(
        "raw_logprobs",
        "what logprobs hold: raw, the model's own, or processed, with penalties, biases, temperature, top_k, top_p and "
        "min_p; log probabilities, or logits",
        choices=("raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"),
        group="model",
    )
    seed: int = _arg(0, "seed of requests without their own", group="model")
    enforce_eager: bool = _arg(False, "never replay captured steps on a GPU; the CPU has none", group="model")

    block_size: int | None = _arg(None, "tokens in a KV cache block (default 32; with FLASH_ATTN 256)", group="cache")
    kv_cache_dtype: str = _arg(
        "auto",
        "auto (as dtype), int8 (a scale for each token and head), fp8 or fp8_e5m2 (the checkpoint's scales, or none); "
        "8 bits hold twice the tokens and move answers a little",
        choices=(
            "auto",
            *("bfloat16", "float16", "float32"),
            *("int8", "int8_per_token_head"),
            *("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_per_token_head"),
        ),
        group="cache",
    )
    kv_cache_memory_bytes: int | None = _arg(None, "size of the KV cache", parse=token_count, group="cache")
    num_gpu_blocks_override: int | None = _arg(None, "number of KV cache blocks", group="cache")
    gpu_memory_utilization: float = _arg(
        0.92,
        "share of a GPU's memory to use; on a CPU see VLLM_CPU_KVCACHE_SPACE",
        also=("--device-memory-utilization",),
        group="cache",
    )
    swap_space: float = _arg(0, "accepted; nothing is swapped out, as in vLLM", group="cache")
    enable_prefix_caching: bool | None = _arg(None, "reuse the KV cache of equal prefixes (default on)", group="cache")

    max_num_seqs: int | None = _arg(None, "most sequences in a step (default 128)", group="scheduler")
    max_num_batched_tokens: int | None = _arg(
        None, "most tokens in a step (default 512, on a GPU 2048)", parse=token_count, group="scheduler"
    )
    enable_chunked_prefill: bool | None = _arg(
        None,
        "split long prompts over steps (default on); off: max_num_batched_tokens must hold a prompt",
        group="scheduler",
    )
    scheduling_policy: str = _arg(
        "fcfs", "fcfs, or priority: lower numbers first", choices=("fcfs", "priority"), group="scheduler"
    )
    speculative_config: dict[str, Any] | None = _arg(
        None,
        'JSON: drafts by prompt lookup, as {"method": "ngram", "num_speculative_tokens": 4}',
        parse=json.loads,
        also=("-sc",),
        group="scheduler",
    )
    attention_backend: str | None = _arg(
        None,
        "CPU_ATTN: the CPU, by this package's kernels; FLASH_ATTN: an NVIDIA GPU, by torch's flash attention, in bf16 "
        "and f16; TORCH_SDPA: a GPU, else the CPU, by torch's other ops (default: the first of these that can)",
        group="engine",
    )
    enable_sleep_mode: bool = _arg(
        False, "let LLM.sleep give memory back (a server: also VLLM_SERVER_DEV_MODE=1)", group="engine"
    )
    tensor_parallel_size: int = _arg(
        1,
        "processes of this machine that the model is split among; the KV cache's size is each one's",
        also=("-tp",),
        group="engine",
    )
    compilation_config: dict[str, Any] | int | None = _arg(
        None, "accepted; kernels are compiled ahead of time", parse=json.loads, group="engine"
    )
    disable_log_stats: bool = _arg(False, "do not log statistics", group="engine")

    tokenizer_mode: str = _not_offered("auto", "hf")
    model_impl: str = _not_offered("auto", "vllm")
    task: str = _not_offered("auto", "generate")
    runner: str = _not_offered("auto", "generate")
    convert: str = _not_offered("auto", "none")
    pipeline_parallel_size: int = _not_offered(1, also=("-pp",))
    data_parallel_size: int = _not_offered(1, also=("-dp",))
    distributed_executor_backend: str | None = _not_offered(None, "uni", "mp")
    nnodes: int = _not_offered(1)
    node_rank: int = _not_offered(0)
    master_addr: str | None = _not_offered("127.0.0.1", None)
    master_port: int | None = _not_offered(29501, None)
    cpu_offload_gb: float = _not_offered(0)
    enable_lora: bool = _not_offered(False)
    lora_modules: list[str] | None = _not_offered(None, [])
    max_loras: int = _not_offered(1)
    max_lora_rank: int = _not_offered(16)
    max_cpu_loras: int | None = _not_offered(None)
    structured_outputs_config: dict[str, Any] | None = _not_offered(None, {})
    reasoning_parser: str | None = _not_offered("", None)
    logits_processors: list[Any] | None = _not_offered(None, [])
    limit_mm_per_prompt: dict[str, Any] | None = _not_offered(None, {})
    # On or off, answers are the same.
    async_scheduling: bool | None = _not_offered(None, False, True)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(EngineArgs):
            value = getattr(self, each.name)
            if each.metadata.get("not_offered") and value not in each.metadata["accepted"]:
                accepted = " or ".join(repr(v) for v in each.metadata["accepted"])
                raise NotOfferedError(f"{each.name}={value!r} is not offered yet: give {accepted}", each.name)
        self._take_other_forms()
        check_types(self)

    def _take_other_forms(self) -> None:
        """Paths for text, torch's dtypes for their names, None for no overrides and no seed."""
        for name in ("model", "tokenizer", "download_dir", "generation_config"):
            if isinstance(given := getattr(self, name), os.PathLike):
                setattr(self, name, os.fspath(given))
        if type(self.dtype).__module__ == "torch":
            self.dtype = str(self.dtype).removeprefix("torch.")
        self.seed = 0 if self.seed is None else self.seed
        self.hf_overrides = {} if self.hf_overrides is None else self.hf_overrides
        if self.override_generation_config is None:
            self.override_generation_config = {}

    @staticmethod
    def add_cli_args(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Adds a flag a field (--max-model-len)."""
        add_dataclass_flags(parser, EngineArgs)
        return parser

    @classmethod
    def from_cli_args(cls, args: argparse.Namespace) -> "EngineArgs":
        """Takes its own fields out of a parsed command line; those that are absent keep their defaults."""
        names = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in vars(args).items() if k in names})

    def create_engine_config(self, usage_context: Any = None) -> VllmConfig:
        """Finds the model (perhaps downloading it), reads its configuration and checks everything together.

        `usage_context` has no effect: nobody is told of usage.
        """
        from vllm.engine.config_builder import build_config

        return build_config(self)


@takes_names_of_vllm
@dataclass
class AsyncEngineArgs(EngineArgs):
    """Engine arguments of a server."""

    enable_log_requests: bool = _arg(False, "log each request", group="engine")

    @staticmethod
    def add_cli_args(parser: argparse.ArgumentParser, async_args_only: bool = False) -> argparse.ArgumentParser:
        """Adds a flag a field; `async_args_only`: of those that EngineArgs does not have."""
        present = {each.name for each in dataclasses.fields(EngineArgs)} if async_args_only else ()
        add_dataclass_flags(parser, AsyncEngineArgs, skip=present)
        return parser
