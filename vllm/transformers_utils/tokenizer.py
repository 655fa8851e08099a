"""vllm.tokenizers under upstream's older name."""

from vllm.tokenizers import TokenizerLike as AnyTokenizer
from vllm.tokenizers import cached_get_tokenizer, cached_tokenizer_from_config, get_tokenizer

__all__ = ["AnyTokenizer", "cached_get_tokenizer", "cached_tokenizer_from_config", "get_tokenizer"]
