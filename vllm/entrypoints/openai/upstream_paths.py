"""Paths of vLLM's HTTP interface that this version does not offer, and what there is instead."""

_REASONS = {
    "use /v1/chat/completions": """
        /v1/responses /v1/messages /v1/messages/count_tokens /v1/messages/render /cohere/v2/chat /cohere/v2/chat/render
        /v1/decisions /v1/systemone""",
    "models generate text": """
        /v1/embeddings /v2/embed /pooling /classify /score /v1/score /rerank /v1/rerank /v2/rerank /generative_scoring
        /v1/audio/transcriptions /v1/audio/translations /v1/realtime""",
    "/v1/completions takes and gives token ids, with return_token_ids": """
        /inference/v1/generate /inference/v1/abort_requests /v1/chat/completions/derender /v1/completions/derender""",
    "the model stays as it was loaded": """
        /init_weight_transfer_engine /start_weight_update /start_draft_weight_update /update_weights
        /finish_weight_update /update_weight_version /weight_info /weight_checker /shutdown_weight_transfer_engine""",
    "requests end where their clients go away, and with the server": "/pause /resume /is_paused /abort_requests",
    "a model runs once, on one machine": """
        /scale_elastic_ep /is_scaling_elastic_ep /get_world_size /collective_rpc /kv_event_sources
        /fault_tolerance/apply /fault_tolerance/status""",
    "use /sleep": "/release_kv_cache_memory",
    "models take text only": "/reset_mm_cache /reset_encoder_cache",
    "use vllm bench latency --profile": "/start_profile /stop_profile",
    "LoRA adapters cannot be loaded, merge the adapter into the model's weights": """
        /v1/load_lora_adapter /v1/unload_lora_adapter""",
    "send one request for each, the engine batches them": "/v1/chat/completions/batch",
    "/tokenize renders messages": "/v1/chat/completions/render /v1/completions/render /v1/responses/render",
    "start the server with --enable-tokenizer-info-endpoint": "/tokenizer_info",
    "see /version and /v1/models": "/server_info",
    "start the server with VLLM_SERVER_DEV_MODE=1": "/sleep /wake_up /is_sleeping",
}
# Path -> why. A path that has a route is never looked up here.
NOT_OFFERED_PATHS = {path: reason for reason, paths in _REASONS.items() for path in paths.split()}
