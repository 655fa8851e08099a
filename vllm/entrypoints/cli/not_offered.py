"""Flags of `vllm serve` that vLLM has and this version does not offer, and why.

Those that are fields of EngineArgs are refused there, for Python callers too; these are the others.
"""

_REASONS = {
    "a model runs once, on one machine, split by --tensor-parallel-size alone": """
        -pp -dp all2all-backend api-server-count data-parallel-address data-parallel-backend
        data-parallel-external-lb data-parallel-hybrid-lb data-parallel-rank data-parallel-rpc-port
        data-parallel-size-local data-parallel-start-rank decode-context-parallel-size disable-custom-all-reduce
        ec-transfer-config enable-dbo enable-eplb enable-expert-parallel eplb-config grpc headless kv-events-config
        kv-transfer-config numa-bind prefill-context-parallel-size ray-workers-use-nsight ubatch-size worker-cls
        worker-extension-cls""",
    "LoRA adapters cannot be loaded, merge the adapter into the model's weights": """
        default-mm-loras enable-tower-connector-lora fully-sharded-loras lora-dtype lora-target-modules
        specialize-active-lora""",
    "tool calls are not parsed": """
        enable-auto-tool-choice exclude-tools-when-tool-choice-none tool-call-parser tool-parser-plugin tool-server""",
    "reasoning is not split from the answer": "reasoning-config reasoning-parser-plugin",
    "quantised weights are recognised, or made by --quantization": "-q",
    "scales of an 8-bit KV cache are the checkpoint's, or made for each token": """
        calculate-kv-scales kv-cache-dtype-skip-layers quantization-param-path""",
    "guessing tokens is set by --speculative-config": "-sc num-speculative-tokens spec-method spec-model spec-tokens",
    "models take text only": """
        allowed-local-media-path allowed-media-domains enable-mm-embeds enable-prompt-embeds interleave-mm-strings
        language-model-only media-io-kwargs mm-encoder-attn-backend mm-encoder-only mm-encoder-tp-mode
        mm-processor-cache-gb mm-processor-cache-type mm-processor-kwargs skip-mm-profiling video-pruning-rate""",
    "weights and KV cache stay in memory": """
        cpu-offload-params kv-offloading-backend kv-offloading-size offload-backend offload-group-size
        offload-num-in-group""",
    "sleep mode is switched on by --enable-sleep-mode": "sleep-mode",
    "kernels are compiled ahead of time": """
        -cc -O cuda-graph-sizes cudagraph-capture-sizes max-cudagraph-capture-size optimization-level""",
    "output cannot be constrained to a grammar": "guided-decoding-backend",
    "models generate text": "io-processor-plugin override-pooler-config pooler-config task",
    "attention is chosen by --attention-backend": "attention-config",
    "models have no experts": "moe-backend",
    "models are folders with config.json, tokenizer.json and safetensors": """
        code-revision config-format hf-config-path ignore-patterns model-loader-extra-config
        safetensors-load-strategy use-tqdm-on-load""",
    "there is one scheduler and one KV cache": """
        disable-chunked-mm-input disable-hybrid-kv-cache-manager kv-sharing-fast-prefill
        long-prefill-token-threshold mamba-block-size mamba-cache-dtype mamba-ssm-cache-dtype
        max-long-partial-prefills max-num-partial-prefills num-lookahead-slots prefix-caching-hash-algo
        scheduler-cls stream-interval""",
    "sampling cannot be extended": "logits-processor-pattern logprobs-mode",
    "there is no tracing and no telemetry": """
        collect-detailed-traces cudagraph-metrics enable-layerwise-nvtx-tracing enable-logging-iteration-details
        enable-mfu-metrics kv-cache-metrics kv-cache-metrics-sample otlp-traces-endpoint profiler-config
        show-hidden-metrics-for-version""",
    "what is logged depends on VLLM_LOGGING_LEVEL, --enable-log-requests and --uvicorn-log-level": """
        aggregate-engine-logging enable-log-deltas enable-log-outputs log-config-file log-error-stack max-log-len""",
    "put a reverse proxy in front of the server": """
        enable-request-id-headers enable-ssl-refresh h11-max-header-count h11-max-incomplete-event-size middleware
        ssl-ciphers""",
    "the engine always has a process of its own": "disable-frontend-multiprocessing",
    "the HTTP interface is fixed": """
        additional-config default-chat-template-kwargs disable-fastapi-docs enable-offline-docs
        enable-return-routed-experts enable-tokenizer-info-endpoint fingerprint-mode""",
}


def _flag(name: str) -> str:
    return name if name.startswith("-") else f"--{name}"


# Flag -> why. A flag that a parser knows is never looked up here.
NOT_OFFERED_FLAGS = {_flag(name): reason for reason, names in _REASONS.items() for name in names.split()}
