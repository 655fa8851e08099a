"""A line of statistics every few seconds while there is work."""

import asyncio
import logging

from vllm import envs
from vllm.entrypoints.openai.state import ServerState
from vllm.messages import EngineStats

logger = logging.getLogger("vllm.stats")


async def log_stats(state: ServerState) -> None:
    """Runs until it is cancelled."""
    before, seconds = state.llm.stats, envs.VLLM_LOG_STATS_INTERVAL
    while True:
        await asyncio.sleep(seconds)
        now = state.llm.stats
        if now.num_steps < before.num_steps:  # the engine was started again and counts from 0
            before = EngineStats()
        if now.num_steps > before.num_steps:
            logger.info(describe(before, now, seconds))
        before = now


def describe(before: EngineStats, now: EngineStats, seconds: float) -> str:
    """Rates between two states, and the later state."""
    prompt = (now.prompt_tokens - before.prompt_tokens) / seconds
    generation = (now.generation_tokens - before.generation_tokens) / seconds
    hits = now.prefix_cache_hits / now.prefix_cache_queries if now.prefix_cache_queries else 0.0
    return (
        f"prompt {prompt:.1f} tokens/s, generation {generation:.1f} tokens/s, running {now.num_running}, "
        f"waiting {now.num_waiting}, KV cache {now.kv_cache_usage:.1%}, prefix cache hit rate {hits:.1%}"
    )
