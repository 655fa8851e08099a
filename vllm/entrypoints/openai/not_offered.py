"""Paths of vLLM's HTTP interface that this version does not offer, and what there is instead."""

_REASONS = {
    "use /v1/chat/completions": "/v1/responses /v1/messages /v1/messages/count_tokens",
    "models generate text": """
        /v1/embeddings /pooling /classify /score /v1/score /rerank /v1/rerank /v2/rerank
        /v1/audio/transcriptions /v1/audio/translations""",
    "LoRA adapters cannot be loaded, merge the adapter into the model's weights": """
        /v1/load_lora_adapter /v1/unload_lora_adapter""",
    "send one request for each, the engine batches them": "/v1/chat/completions/batch",
    "/tokenize renders messages": "/v1/chat/completions/render /v1/completions/render",
    "see /version and /v1/models": "/server_info",
    "start the server with VLLM_SERVER_DEV_MODE=1": "/sleep /wake_up /is_sleeping",
}
# Path -> why. A path that has a route is never looked up here.
NOT_OFFERED_PATHS = {path: reason for reason, paths in _REASONS.items() for path in paths.split()}
