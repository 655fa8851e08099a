"""Upstream's groups of settings that programs of vllm.config name, and that this version does not have."""

from vllm.not_offered import NotOffered


class AttentionConfig(NotOffered, advice="give attention_backend"):
    pass


class CompilationConfig(NotOffered, advice="kernels are compiled ahead of time, leave it out"):
    pass


class KVEventsConfig(NotOffered, advice="the KV cache stays in its engine, leave it out"):
    pass


class KVTransferConfig(NotOffered, advice="the KV cache stays in its engine, leave it out"):
    pass


class LoadConfig(NotOffered, advice="give load_format and download_dir"):
    pass


class LoRAConfig(NotOffered, advice="merge the adapter into the model's weights"):
    pass


class MultiModalConfig(NotOffered, advice="models take text only, leave it out"):
    pass


class ObservabilityConfig(NotOffered, advice="there is no tracing, leave it out"):
    pass


class PoolerConfig(NotOffered, advice="models generate text, leave it out"):
    pass


class ProfilerConfig(NotOffered, advice="use `vllm bench latency --profile`"):
    pass


class StructuredOutputsConfig(NotOffered, advice="answers are not held to a grammar or a schema, leave it out"):
    pass


class WeightTransferConfig(NotOffered, advice="weights are read when an engine starts, leave it out"):
    pass
