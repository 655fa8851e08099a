"""vllm.entrypoints.chat_utils under upstream's newer name."""

from vllm.entrypoints.chat_utils import load_chat_template

__all__ = ["load_chat_template"]
