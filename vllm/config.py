"""The engine's configuration, complete and checked: what EngineArgs resolve to. Plain data, picklable, no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vllm.not_offered_configs import (
    AttentionConfig,
    CompilationConfig,
    KVEventsConfig,
    KVTransferConfig,
    LoadConfig,
    LoRAConfig,
    MultiModalConfig,
    ObservabilityConfig,
    PoolerConfig,
    ProfilerConfig,
    StructuredOutputsConfig,
    WeightTransferConfig,
)

__all__ = [
    "AttentionConfig",
    "CacheConfig",
    "CompilationConfig",
    "DeviceConfig",
    "KVEventsConfig",
    "KVTransferConfig",
    "LoRAConfig",
    "LoadConfig",
    "ModelConfig",
    "MultiModalConfig",
    "ObservabilityConfig",
    "ParallelConfig",
    "PoolerConfig",
    "ProfilerConfig",
    "SchedulerConfig",
    "SpeculativeConfig",
    "StructuredOutputsConfig",
    "VllmConfig",
    "WeightTransferConfig",
]

DType = Literal["bfloat16", "float16", "float32"]
LoadFormat = Literal["auto", "safetensors", "dummy"]
LogprobsMode = Literal["raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"]
SchedulingPolicy = Literal["fcfs", "priority"]
CacheDType = Literal["auto", "fp8_e4m3", "fp8_e5m2", "int8_per_token_head", "fp8_per_token_head"]


@dataclass
class ModelConfig:
    """Which model, read how.

    `hf_config` is config.json's content with the overrides applied, `folder` holds config.json and the weights.
    """

    model: str  # as the user named it
    folder: Path
    tokenizer_folder: Path  # of `tokenizer`, which is as the user named it
    hf_config: dict[str, Any]
    architecture: str
    vocab_size: int
    dtype: DType
    max_model_len: int
    fits_max_model_len: bool = False  # max_model_len shrinks to what the KV cache holds, once that is known
    seed: int = 0
    load_format: LoadFormat = "auto"
    quantization: str | None = None  # a method of vllm.quantization
    tokenizer: str | None = None
    skip_tokenizer_init: bool = False
    max_logprobs: int = 20  # -1: no limit
    logprobs_mode: LogprobsMode = "raw_logprobs"
    # "auto": the model's generation_config.json gives default sampling parameters; "vllm": vLLM's own; or a folder
    generation_config: str = "auto"
    override_generation_config: dict[str, Any] = field(default_factory=dict)
    served_model_name: list[str] = field(default_factory=list)  # what /v1/models lists; the first names answers

    @property
    def hf_text_config(self) -> dict[str, Any]:
        """`hf_config`: models take text only."""
        return self.hf_config

    def fit_max_model_len(self, kv_cache_tokens: int) -> None:
        if self.fits_max_model_len:
            self.max_model_len = min(self.max_model_len, kv_cache_tokens)

    def get_vocab_size(self) -> int:
        return self.vocab_size

    def get_diff_sampling_param(self) -> dict[str, Any]:
        """Sampling parameters that the model's makers or the user chose for requests that do not set them."""
        from vllm.generation_config import default_sampling_values

        return default_sampling_values(self)


@dataclass
class CacheConfig:
    """The KV cache. `memory_bytes` None: VLLM_CPU_KVCACHE_SPACE, or what free memory and the limits allow."""

    block_size: int = 32  # tokens
    cache_dtype: CacheDType = "auto"  # "auto": the model's dtype
    enable_prefix_caching: bool = True
    memory_bytes: int | None = None
    num_blocks: int | None = None  # forces the number of blocks (tests)


@dataclass
class SchedulerConfig:
    """How much runs at once. A step computes at most `max_num_batched_tokens` tokens of `max_num_seqs` sequences.

    Matrix products are as fast per token from a few hundred tokens on; larger steps would only delay the tokens of
    sequences that are being decoded.
    """

    max_num_seqs: int = 128
    max_num_batched_tokens: int = 512
    enable_chunked_prefill: bool = True
    policy: LogprobsMode = Literal["raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"]


SchedulingPolicy = "fcfs"


@dataclass
class SpeculativeConfig:
    """Drafts by prompt lookup: after the last n tokens (`prompt_lookup_min` to `_max`), what followed them before."""

    method: Literal["ngram"]
    num_speculative_tokens: int
    prompt_lookup_max: int = 4
    prompt_lookup_min: int = 2


@dataclass
class DeviceConfig:
    """Where the model runs, and by what."""

    device: str = "cpu"  # torch's name: cpu or cuda (which is also what torch calls AMD's GPUs)
    attention_backend: str = "CPU_ATTN"  # of vllm.attention.registry; CPU_ATTN: this package's kernels for everything
    own_kernels: frozenset[str] = frozenset()  # of vllm.kernels.op_set.DEVICE_CHOICES, in place of torch's ops
    memory_utilization: float = 0.92  # of a GPU's memory, for weights, activations and KV cache
    enforce_eager: bool = False

    @property
    def replays_steps(self) -> bool:
        """Whether decode steps are captured and replayed (vllm.worker.decode_graphs)."""
        return "cuda_graphs" in self.own_kernels and not self.enforce_eager


@dataclass
class ParallelConfig:
    """Among how many processes of this machine the model is split."""

    tensor_parallel_size: int = 1

    @property
    def world_size(self) -> int:
        return self.tensor_parallel_size


@dataclass
class VllmConfig:
    """Everything that an engine is built from."""

    model_config: ModelConfig
    cache_config: CacheConfig
    scheduler_config: SchedulerConfig
    disable_log_stats: bool = False
    speculative_config: SpeculativeConfig | None = None
    device_config: DeviceConfig = field(default_factory=DeviceConfig)
    parallel_config: ParallelConfig = field(default_factory=ParallelConfig)
    enable_sleep_mode: bool = False
