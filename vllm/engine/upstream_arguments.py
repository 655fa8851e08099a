"""Flags and engine arguments that vLLM has and this version does not offer, and why.

Those that are fields of EngineArgs say there what they accept; these are the others.
"""

import dataclasses
import difflib
import functools
import re
from typing import Any

from vllm.exceptions import NotOfferedError, VLLMValidationError

_REASONS = {
    "a model runs once, on one machine, split by --tensor-parallel-size alone": """
        -dcp -dpa -dpb -dpe -dph -dpl -dpm -dpn -dpp -dpr -ep -n -pcp -r all2all-backend api-server-count
        cp-kv-cache-interleave-size cpu-distributed-timeout-seconds data-parallel-address data-parallel-backend
        data-parallel-external-lb data-parallel-hybrid-lb data-parallel-multi-port-external-lb data-parallel-rank
        data-parallel-rpc-port data-parallel-size-local data-parallel-start-rank data-parallel-supervisor-port
        dbo-decode-token-threshold dbo-prefill-token-threshold dcp-comm-backend dcp-kv-cache-interleave-size
        dcp-q-replicate decode-context-parallel-size disable-custom-all-reduce disable-nccl-for-dp-synchronization
        distributed-timeout-seconds dp-supervisor-probe-failure-threshold dp-supervisor-probe-interval-s
        dp-supervisor-probe-timeout-s dp-sync-interval ec-manager-config ec-transfer-config elastic-ep-max-dp-size
        enable-batch-sharded-sampling enable-dbo enable-elastic-ep enable-ep-weight-filter enable-eplb
        enable-expert-parallel enable-fault-tolerance enable-hc-sp enable-nccl-comm-suspend eplb-config
        expert-placement-strategy fault-tolerance-config headless kv-events-config kv-transfer-config
        max-parallel-loading-workers numa-bind numa-bind-cpus numa-bind-nodes prefill-context-parallel-size
        ray-workers-use-nsight ubatch-size watchdog-config worker-cls worker-extension-cls""",
    "LoRA adapters cannot be loaded, merge the adapter into the model's weights": """
        default-mm-loras enable-lora-bias enable-mixed-moe-lora-format enable-moe-shared-loras enable-prompt-adapter
        enable-tower-connector-lora fully-sharded-loras long-lora-scaling-factors lora-dtype lora-extra-vocab-size
        lora-target-modules max-lora-cls-labels max-prompt-adapter-token max-prompt-adapters prompt-adapters
        qlora-adapter-name-or-path specialize-active-lora""",
    "tool calls are not parsed": """
        enable-auto-tool-choice exclude-tools-when-tool-choice-none tool-call-parser tool-parser-plugin tool-server
        tool-strict-level""",
    "reasoning is not split from the answer": """
        anthropic-disabled-thinking-effort enable-reasoning reasoning-config reasoning-effort-map
        reasoning-parser-plugin""",
    "scales of an 8-bit KV cache are the checkpoint's, or made for each token": """
        calculate-kv-scales kv-cache-dtype-skip-layers quantization-param-path""",
    "guessing tokens is set by --speculative-config": "num-speculative-tokens spec-method spec-model spec-tokens",
    "models take text only": """
        allowed-local-media-path allowed-media-domains disable-mm-preprocessor-cache enable-mm-embeds
        enable-mm-processor-stats enable-prompt-embeds interleave-mm-strings language-model-only media-io-kwargs
        mm-device-do-normalize mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path
        mm-encoder-fp8-scale-save-margin mm-encoder-fp8-scale-save-path mm-encoder-only mm-encoder-tp-mode
        mm-hasher-algorithm mm-ipc-gpu-memory-gb mm-processor-cache-gb mm-processor-cache-type mm-processor-device
        mm-processor-kwargs mm-shm-cache-max-object-size-mb mm-tensor-ipc skip-mm-profiling trust-request-mm-kwargs
        video-pruning-method video-pruning-rate""",
    "weights and KV cache stay in memory": """
        cpu-offload-params kv-offloading-backend kv-offloading-size offload-backend offload-group-size
        offload-num-in-group offload-params offload-prefetch-step""",
    "sleep mode is switched on by --enable-sleep-mode": """
        enable-cumem-allocator sleep-mode sleep-mode-backend sleep-mode-offload-cudagraph
        sleep-preserve-parameter-names""",
    "kernels are compiled ahead of time": """
        -O -cc cuda-graph-sizes cudagraph-capture-sizes disable-flashinfer-autotune enable-flashinfer-autotune
        ir-op-priority jit-monitor-mode jit-monitor-verbose kernel-config max-cudagraph-capture-size
        max-seq-len-to-capture monokernel optimization-level performance-mode""",
    "output cannot be constrained to a grammar": "guided-decoding-backend",
    "models generate text": """
        -dc diffusion-config enable-flash-late-interaction io-processor-plugin override-pooler-config pooler-config""",
    "attention is chosen by --attention-backend": "-ac attention-config override-attention-dtype",
    "kernels are chosen by what the machine has": "linear-backend sparse-indexer-topk-backend",
    "a GPU that torch can use is used, see --attention-backend": "device device-ids",
    "a quantised checkpoint says how it is read": "allow-deprecated-quantization quantization-config",
    "models have no experts": "moe-backend",
    "models are folders with config.json, tokenizer.json and safetensors": """
        code-revision config-format engram-config hf-config-path ignore-patterns model-class-overrides
        model-loader-extra-config model-weights override-neuron-config pt-load-map-location safetensors-load-strategy
        safetensors-prefetch-block-size safetensors-prefetch-num-threads tokenizer-pool-extra-config tokenizer-pool-size
        tokenizer-pool-type use-tqdm-on-load weight-transfer-config""",
    "there is one scheduler and one KV cache": """
        -asc disable-async-output-proc disable-cascade-attn disable-chunked-mm-input disable-hybrid-kv-cache-manager
        disable-sliding-window enable-mamba-cache-stochastic-rounding enable-mamba-shared-prefix-checkpoint
        gdn-prefill-backend kda-decode-backend kda-prefill-backend kv-sharing-fast-prefill
        long-prefill-token-threshold long-prefill-token-threshold-adaptive mamba-backend mamba-block-size
        mamba-cache-dtype mamba-cache-mode mamba-cache-philox-rounds mamba-config mamba-ssm-cache-dtype
        mamba-ssu-algorithm max-long-partial-prefills max-num-active-seqs max-num-partial-prefills max-num-queued-reqs
        max-num-queued-tokens max-num-scheduled-tokens multi-step-stream-outputs num-lookahead-slots num-scheduler-steps
        preemption-mode prefill-schedule-interval prefix-cache-retention-interval prefix-caching-hash-algo
        prefix-match-unit replayssm-buffer-len scheduler-cls scheduler-delay-factor
        scheduler-reserve-full-isl stream-interval swa-bounded-replay use-replayssm use-v2-block-manager watermark""",
    "sampling cannot be extended": """
        enable-trace-replay logits-processor-pattern return-sampling-mask use-fp64-gumbel
        watermark-config""",
    "there is no tracing and no telemetry": """
        collect-detailed-traces cudagraph-metrics custom-histogram-buckets enable-layerwise-nvtx-tracing
        enable-logging-iteration-details enable-mfu-metrics enable-per-request-metrics kv-cache-metrics
        kv-cache-metrics-sample otlp-traces-endpoint per-request-spec-decode-metrics profiler-config
        show-hidden-metrics-for-version""",
    "what is logged depends on VLLM_LOGGING_LEVEL, --enable-log-requests and --uvicorn-log-level": """
        aggregate-engine-logging disable-access-log-for-endpoints enable-log-deltas enable-log-outputs log-config-file
        log-error-stack log-level logging-config max-log-len""",
    "put a reverse proxy in front of the server": """
        enable-ssl-refresh h11-max-header-count h11-max-incomplete-event-size middleware sse-keep-alive-interval
        ssl-ciphers""",
    "the engine always has a process of its own": """
        disable-frontend-multiprocessing enable-shm-tensor-arena renderer-num-workers""",
    "config.json says it, replace its values by --hf-overrides": "rope-scaling rope-theta",
    "the server answers over HTTP alone": "grpc grpc-port",
    "the HTTP interface is fixed": """
        additional-config aux-output-config cohere-format cohere-is-reasoning-model enable-offline-docs
        enable-return-routed-experts enable-scale-out fail-on-environ-validation fingerprint-mode fingerprint-value
        tokens-only""",
}


# vLLM's defaults, which ask for nothing, as what is false or empty does.
_DEFAULTS = {
    "all2all_backend": "allgather_reducescatter",
    "config_format": "auto",
    "cp_kv_cache_interleave_size": 1,
    "data_parallel_backend": "mp",
    "dbo_decode_token_threshold": 32,
    "dbo_prefill_token_threshold": 512,
    "dcp_comm_backend": "ag_rs",
    "dcp_kv_cache_interleave_size": 1,
    "decode_context_parallel_size": 1,
    "device": "auto",
    "dp_sync_interval": 16,
    "expert_placement_strategy": "linear",
    "ignore_patterns": ["original/**/*"],
    "jit_monitor_mode": "warn",
    "kv_cache_metrics_sample": 0.01,
    "kv_offloading_backend": "native",
    "linear_backend": "auto",
    "lora_dtype": "auto",
    "mamba_backend": "triton",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_ssm_cache_dtype": "auto",
    "max_long_partial_prefills": 1,
    "max_num_partial_prefills": 1,
    "max_seq_len_to_capture": 8192,
    "mm_device_do_normalize": True,
    "mm_encoder_fp8_scale_save_margin": 1.5,
    "mm_encoder_tp_mode": "weights",
    "mm_hasher_algorithm": "blake3",
    "mm_processor_cache_gb": 4,
    "mm_processor_cache_type": "lru",
    "mm_processor_device": "auto",
    "mm_shm_cache_max_object_size_mb": 128,
    "mm_tensor_ipc": "direct_rpc",
    "moe_backend": "auto",
    "num_scheduler_steps": 1,
    "offload_backend": "auto",
    "offload_num_in_group": 1,
    "offload_prefetch_step": 1,
    "optimization_level": 2,
    "per_request_spec_decode_metrics": "none",
    "performance_mode": "balanced",
    "prefill_context_parallel_size": 1,
    "prefill_schedule_interval": 1,
    "prefix_caching_hash_algo": "sha256",
    "pt_load_map_location": "cpu",
    "renderer_num_workers": 1,
    "replayssm_buffer_len": 16,
    "scheduler_reserve_full_isl": True,
    "sleep_mode_backend": "cumem",
    "sparse_indexer_topk_backend": "auto",
    "stream_interval": 1,
    "swa_bounded_replay": True,
    "use_tqdm_on_load": True,
    "video_pruning_method": "evs",
    "worker_cls": "auto",
}


# These switch off what is not there: nothing is asked for, whatever their value.
_SWITCHES_OF_NOTHING = frozenset(
    """disable_async_output_proc disable_cascade_attn disable_chunked_mm_input disable_custom_all_reduce
    disable_flashinfer_autotune disable_hybrid_kv_cache_manager disable_mm_preprocessor_cache
    disable_nccl_for_dp_synchronization""".split()
)


def _flag(name: str) -> str:
    return name if name.startswith("-") else f"--{name}"


# Flag -> why. A flag that a parser knows is never looked up here.
NOT_OFFERED_FLAGS = {_flag(name): reason for reason, names in _REASONS.items() for name in names.split()}


def reason_not_offered(flag: str) -> str | None:
    """Why a flag is not offered, in whatever form it is given: -O3, -cc.mode; None: it is unknown."""
    name = flag.partition(".")[0]
    name = "-O" if re.fullmatch(r"-O\d", name) else name
    return NOT_OFFERED_FLAGS.get(name)


def is_switched_off(flag: str) -> bool:
    """Whether this switches off what is not there.

    That is the opposite of a flag that is not offered: --no-FLAG, --disable-X of --enable-X, or turned.
    """
    if flag.removeprefix("--").replace("-", "_") in _SWITCHES_OF_NOTHING:
        return True
    opposites = (("--no-", "--"), ("--disable-", "--enable-"), ("--enable-", "--disable-"))
    return any(flag.startswith(off) and flag.replace(off, on, 1) in NOT_OFFERED_FLAGS for off, on in opposites)


def asks_for_nothing(name: str, value: Any) -> bool:
    """Whether an argument that is not offered, named as in Python, has a value that changes nothing in vLLM."""
    if isinstance(value, dict):
        return not any(value.values())
    return not value or value == _DEFAULTS.get(name) or name in _SWITCHES_OF_NOTHING


def takes_names_of_vllm(cls: type) -> type:
    """Decorates a dataclass of arguments: keywords that are not its fields are those of vLLM, or mistakes.

    Raises NotOfferedError for one of vLLM's that asks for something, and VLLMValidationError for an unknown one.
    """
    known = [each.name for each in dataclasses.fields(cls)]
    generated = cls.__init__

    @functools.wraps(generated)
    def init(self: Any, *args: Any, **keywords: Any) -> None:
        for name in [name for name in keywords if name not in known]:
            _check_name_of_vllm(name, keywords.pop(name), known)
        generated(self, *args, **keywords)

    cls.__init__ = init
    return cls


def _check_name_of_vllm(name: str, value: Any, known: list[str]) -> None:
    reason = NOT_OFFERED_FLAGS.get("--" + name.replace("_", "-"))
    if reason is None:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else "see EngineArgs for what there is"
        raise VLLMValidationError(f"unknown argument {name!r}: {hint}", name)
    if not asks_for_nothing(name, value):
        raise NotOfferedError(f"{name}={value!r} is not offered yet: {reason}; leave it out", name)
