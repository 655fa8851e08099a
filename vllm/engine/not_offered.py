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
        all2all-backend api-server-count cp-kv-cache-interleave-size data-parallel-address data-parallel-backend
        data-parallel-external-lb data-parallel-hybrid-lb data-parallel-rank data-parallel-rpc-port
        data-parallel-size-local data-parallel-start-rank dbo-decode-token-threshold dbo-prefill-token-threshold
        dcp-comm-backend dcp-kv-cache-interleave-size decode-context-parallel-size
        disable-custom-all-reduce disable-nccl-for-dp-synchronization distributed-timeout-seconds ec-transfer-config
        enable-dbo enable-elastic-ep enable-eplb enable-expert-parallel eplb-config expert-placement-strategy grpc
        headless kv-events-config kv-transfer-config max-parallel-loading-workers numa-bind
        prefill-context-parallel-size ray-workers-use-nsight ubatch-size worker-cls worker-extension-cls""",
    "LoRA adapters cannot be loaded, merge the adapter into the model's weights": """
        default-mm-loras enable-lora-bias enable-tower-connector-lora fully-sharded-loras lora-dtype
        lora-extra-vocab-size lora-target-modules specialize-active-lora""",
    "tool calls are not parsed": """
        enable-auto-tool-choice exclude-tools-when-tool-choice-none tool-call-parser tool-parser-plugin tool-server
        tool-strict-level""",
    "reasoning is not split from the answer": "reasoning-config reasoning-effort-map reasoning-parser-plugin",
    "scales of an 8-bit KV cache are the checkpoint's, or made for each token": """
        calculate-kv-scales kv-cache-dtype-skip-layers quantization-param-path""",
    "guessing tokens is set by --speculative-config": "num-speculative-tokens spec-method spec-model spec-tokens",
    "models take text only": """
        allowed-local-media-path allowed-media-domains disable-mm-preprocessor-cache enable-mm-embeds
        enable-prompt-embeds interleave-mm-strings language-model-only media-io-kwargs mm-encoder-attn-backend
        mm-encoder-only mm-encoder-tp-mode mm-processor-cache-gb mm-processor-cache-type
        mm-processor-kwargs mm-shm-cache-max-object-size-mb skip-mm-profiling video-pruning-rate""",
    "weights and KV cache stay in memory": """
        cpu-offload-params kv-offloading-backend kv-offloading-size offload-backend offload-group-size
        offload-num-in-group offload-params offload-prefetch-step""",
    "sleep mode is switched on by --enable-sleep-mode": "sleep-mode",
    "kernels are compiled ahead of time": """
        -cc -O cuda-graph-sizes cudagraph-capture-sizes enable-flashinfer-autotune kernel-config
        max-cudagraph-capture-size max-seq-len-to-capture optimization-level performance-mode""",
    "output cannot be constrained to a grammar": "guided-decoding-backend",
    "models generate text": "io-processor-plugin override-pooler-config pooler-config",
    "attention is chosen by --attention-backend": "attention-config",
    "models have no experts": "moe-backend",
    "models are folders with config.json, tokenizer.json and safetensors": """
        code-revision config-format hf-config-path ignore-patterns model-loader-extra-config model-weights
        pt-load-map-location safetensors-load-strategy use-tqdm-on-load weight-transfer-config""",
    "there is one scheduler and one KV cache": """
        disable-async-output-proc disable-cascade-attn disable-chunked-mm-input disable-hybrid-kv-cache-manager
        disable-sliding-window kv-sharing-fast-prefill
        long-prefill-token-threshold mamba-block-size mamba-cache-dtype mamba-ssm-cache-dtype
        max-long-partial-prefills max-num-partial-prefills num-lookahead-slots prefix-caching-hash-algo
        num-scheduler-steps scheduler-cls scheduler-reserve-full-isl stream-interval""",
    "sampling cannot be extended": "logits-processor-pattern logprobs-mode",
    "there is no tracing and no telemetry": """
        collect-detailed-traces cudagraph-metrics enable-layerwise-nvtx-tracing enable-logging-iteration-details
        enable-mfu-metrics kv-cache-metrics kv-cache-metrics-sample otlp-traces-endpoint profiler-config
        show-hidden-metrics-for-version""",
    "what is logged depends on VLLM_LOGGING_LEVEL, --enable-log-requests and --uvicorn-log-level": """
        aggregate-engine-logging disable-access-log-for-endpoints enable-log-deltas enable-log-outputs log-config-file
        log-error-stack max-log-len""",
    "put a reverse proxy in front of the server": """
        enable-ssl-refresh h11-max-header-count h11-max-incomplete-event-size middleware
        ssl-ciphers""",
    "the engine always has a process of its own": "disable-frontend-multiprocessing",
    "config.json says it, replace its values by --hf-overrides": "rope-scaling rope-theta",
    "the HTTP interface is fixed": """
        additional-config anthropic-disabled-thinking-effort cohere-format cohere-is-reasoning-model
        enable-offline-docs enable-per-request-metrics enable-return-routed-experts enable-scale-out fingerprint-mode
        fingerprint-value grpc-port sse-keep-alive-interval tokens-only trust-request-mm-kwargs""",
}


# vLLM's defaults, which ask for nothing, as what is false or empty does.
_DEFAULTS = {
    "all2all_backend": "allgather_reducescatter",
    "config_format": "auto",
    "cp_kv_cache_interleave_size": 1,
    "data_parallel_backend": "mp",
    "dcp_kv_cache_interleave_size": 1,
    "decode_context_parallel_size": 1,
    "expert_placement_strategy": "linear",
    "kv_offloading_backend": "native",
    "logprobs_mode": "raw_logprobs",
    "lora_dtype": "auto",
    "mamba_cache_dtype": "auto",
    "mamba_ssm_cache_dtype": "auto",
    "max_long_partial_prefills": 1,
    "max_num_partial_prefills": 1,
    "max_seq_len_to_capture": 8192,
    "mm_encoder_tp_mode": "weights",
    "mm_processor_cache_gb": 4,
    "mm_processor_cache_type": "lru",
    "moe_backend": "auto",
    "num_scheduler_steps": 1,
    "offload_backend": "auto",
    "prefill_context_parallel_size": 1,
    "pt_load_map_location": "cpu",
    "stream_interval": 1,
    "use_tqdm_on_load": True,
    "worker_cls": "auto",
}


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
    """Whether this is the --no- form of a flag that is not offered."""
    return flag.startswith("--no-") and flag.replace("--no-", "--", 1) in NOT_OFFERED_FLAGS


def asks_for_nothing(name: str, value: Any) -> bool:
    """Whether an argument that is not offered, named as in Python, has a value that changes nothing in vLLM."""
    if isinstance(value, dict):
        return not any(value.values())
    return not value or value == _DEFAULTS.get(name)


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
