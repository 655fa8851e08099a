"""Drafts by prompt lookup: what followed the last tokens where they stood before (arXiv:2304.04487's observation)."""

from vllm.config import SpeculativeConfig


class PromptLookup:
    """One sequence's n-grams and where each last ended; it grows with the sequence, so that drafts stay cheap."""

    __slots__ = ("_config", "_ends", "_indexed")

    def __init__(self, config: SpeculativeConfig):
        self._config = config
        self._ends: dict[tuple[int, ...], int] = {}
        self._indexed = 0  # n-grams that end before this position are in the index

    def draft(self, token_ids: list[int], most: int) -> list[int]:
        """At most `most` tokens that followed the longest known n-gram at the end of `token_ids`."""
        config, length = self._config, len(token_ids)
        for end in range(self._indexed + 1, length):
            for size in range(config.prompt_lookup_min, min(config.prompt_lookup_max, end) + 1):
                self._ends[tuple(token_ids[end - size : end])] = end
        self._indexed = max(self._indexed, length - 1)
        most = min(most, config.num_speculative_tokens)
        for size in range(min(config.prompt_lookup_max, length - 1), config.prompt_lookup_min - 1, -1):
            if (end := self._ends.get(tuple(token_ids[length - size :]))) is not None:
                return token_ids[end : end + most]
        return []
