"""Upstream's names of chat requests: programs build and check one without a server."""

from vllm.entrypoints.openai.requests import ChatCompletionRequest
from vllm.not_offered import NotOffered

__all__ = ["BatchChatCompletionRequest", "ChatCompletionRequest"]


class BatchChatCompletionRequest(NotOffered, advice="send a ChatCompletionRequest for each conversation"):
    pass
