"""vllm.engine.llm_engine under upstream's name."""

from vllm.engine.llm_engine import LLMEngine

__all__ = ["LLMEngine"]
