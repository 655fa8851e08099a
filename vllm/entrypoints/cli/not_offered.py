"""Flags of `vllm serve` that vLLM has and this version does not offer, and what to do instead."""

_ONE_PROCESS = "the model runs in one process on one machine: leave it out"
_NO_ADAPTERS = "LoRA adapters cannot be loaded: merge the adapter into the model's weights"
_NO_TOOLS = "tool calls are not parsed: leave it out"
_NO_REASONING = "reasoning is not split from the answer: leave it out"
_NO_QUANTIZATION = "weights are bfloat16, float16 or float32: leave it out"
_NO_SPECULATION = "there is no speculative decoding: leave it out"
_NO_MEDIA = "models take text only: leave it out"
_NO_OFFLOAD = "weights and KV cache stay in memory: leave it out"
_NO_COMPILE = "kernels are compiled ahead of time: leave it out"
_NO_STRUCTURE = "output cannot be constrained to a grammar: leave it out"

_REASONS = {
    _ONE_PROCESS: """tensor-parallel-size -tp pipeline-parallel-size -pp data-parallel-size -dp data-parallel-rank
        data-parallel-start-rank data-parallel-size-local data-parallel-address data-parallel-rpc-port
        data-parallel-backend data-parallel-hybrid-lb data-parallel-external-lb enable-expert-parallel
        distributed-executor-backend api-server-count headless nnodes node-rank master-addr master-port
        decode-context-parallel-size prefill-context-parallel-size worker-cls worker-extension-cls numa-bind
        ray-workers-use-nsight disable-custom-all-reduce kv-transfer-config kv-events-config ec-transfer-config
        all2all-backend enable-eplb eplb-config enable-dbo ubatch-size grpc""",
    _NO_ADAPTERS: """enable-lora lora-modules max-loras max-lora-rank max-cpu-loras fully-sharded-loras
        default-mm-loras lora-dtype lora-target-modules enable-tower-connector-lora specialize-active-lora""",
    _NO_TOOLS: "enable-auto-tool-choice tool-call-parser tool-parser-plugin tool-server exclude-tools-when-tool-choice-none",
    _NO_REASONING: "reasoning-parser reasoning-parser-plugin reasoning-config",
    _NO_QUANTIZATION: "quantization -q quantization-param-path calculate-kv-scales kv-cache-dtype kv-cache-dtype-skip-layers",
    _NO_SPECULATION: "speculative-config -sc spec-method spec-model spec-tokens num-speculative-tokens",
    _NO_MEDIA: """limit-mm-per-prompt allowed-local-media-path allowed-media-domains media-io-kwargs mm-processor-kwargs
        mm-processor-cache-gb mm-processor-cache-type mm-encoder-tp-mode mm-encoder-only mm-encoder-attn-backend
        interleave-mm-strings skip-mm-profiling video-pruning-rate language-model-only enable-mm-embeds
        enable-prompt-embeds""",
    _NO_OFFLOAD: """swap-space cpu-offload-gb cpu-offload-params kv-offloading-size kv-offloading-backend
        offload-backend offload-group-size offload-num-in-group enable-sleep-mode sleep-mode""",
    _NO_COMPILE: """compilation-config -cc cudagraph-capture-sizes max-cudagraph-capture-size cuda-graph-sizes
        optimization-level -O""",
    _NO_STRUCTURE: "structured-outputs-config guided-decoding-backend",
    "models generate text: leave it out": "runner convert task pooler-config override-pooler-config io-processor-plugin",
    "attention runs on this project's own kernels: leave it out": "attention-backend attention-config moe-backend",
    "only folders with config.json, tokenizer.json and safetensors are read: leave it out": """config-format
        model-loader-extra-config ignore-patterns model-impl use-tqdm-on-load safetensors-load-strategy
        tokenizer-mode hf-config-path code-revision""",
    "the scheduler is this project's own: leave it out": """scheduler-cls async-scheduling scheduling-cls
        max-num-partial-prefills max-long-partial-prefills long-prefill-token-threshold stream-interval
        disable-chunked-mm-input disable-hybrid-kv-cache-manager max-num-seqs-per-lora""",
    "sampling is fixed: leave it out": "logits-processors logits-processor-pattern logprobs-mode",
    "there is no tracing and no telemetry: leave it out": """otlp-traces-endpoint collect-detailed-traces
        show-hidden-metrics-for-version kv-cache-metrics kv-cache-metrics-sample cudagraph-metrics
        enable-layerwise-nvtx-tracing enable-mfu-metrics profiler-config enable-logging-iteration-details""",
    "logging is set by VLLM_LOGGING_LEVEL and --uvicorn-log-level": """max-log-len enable-log-outputs
        enable-log-deltas log-config-file aggregate-engine-logging log-error-stack""",
    "put a reverse proxy in front of the server": """middleware enable-request-id-headers ssl-cert-reqs
        ssl-ciphers enable-ssl-refresh h11-max-header-count h11-max-incomplete-event-size""",
    "the interface of the page at / and of /v1 is fixed: leave it out": """enable-force-include-usage
        enable-prompt-tokens-details enable-server-load-tracking enable-offline-docs disable-fastapi-docs
        enable-tokenizer-info-endpoint default-chat-template-kwargs fingerprint-mode""",
    "leave it out": """additional-config kv-sharing-fast-prefill mamba-block-size mamba-cache-dtype
        mamba-ssm-cache-dtype num-gpu-blocks-override num-lookahead-slots prefix-caching-hash-algo
        enable-return-routed-experts enforce-eager-moe device-config shutdown-mode""",
}


def _flag(name: str) -> str:
    return name if name.startswith("-") else f"--{name}"


# Flag -> what to do instead. A flag that a parser knows is never looked up here.
NOT_OFFERED_FLAGS = {_flag(name): reason for reason, names in _REASONS.items() for name in names.split()}
