"""AsyncLLM under the name that programs know from upstream."""

from vllm.engine.async_llm import AsyncLLM as AsyncLLMEngine

__all__ = ["AsyncLLMEngine"]
