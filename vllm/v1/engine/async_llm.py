"""vllm.engine.async_llm under upstream's name."""

from vllm.engine.async_llm import AsyncLLM

__all__ = ["AsyncLLM"]
