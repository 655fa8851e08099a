"""vllm.entrypoints.chat_utils under upstream's newer name."""

from vllm.entrypoints.chat_utils import resolve_chat_template

__all__ = ["resolve_chat_template"]
