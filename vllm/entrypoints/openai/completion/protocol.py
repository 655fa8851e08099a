"""Upstream's name of completion requests: programs build and check one without a server."""

from vllm.entrypoints.openai.requests import CompletionRequest

__all__ = ["CompletionRequest"]
