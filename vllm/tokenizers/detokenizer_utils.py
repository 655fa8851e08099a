"""Upstream's helpers around decoding that programs import."""

from collections.abc import Sequence

from vllm.tokenizers import Tokenizer


def convert_ids_list_to_tokens(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[str]:
    """The text of each token by itself; of transformers' tokenizers, too."""
    return [tokenizer.decode([token_id]) or "" for token_id in token_ids]
