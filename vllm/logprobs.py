"""Log probabilities of tokens as users read them."""

from collections.abc import Iterable, MutableSequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import Any, NoReturn


@dataclass
class Logprob:
    """The log probability (natural logarithm) of one token at one position.

    `rank` is the token's place in the whole vocabulary, 1 being the most likely.
    """

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


# The token that is there (sampled, or of the prompt) and the top-k others, by token id.
LogprobsOnePosition = dict[int, Logprob]


@dataclass
class FlatLogprobs(MutableSequence):
    """Reads as a list of {token id: Logprob}, kept as a few long lists: nothing for each token to collect as garbage.

    Position i has the entries from start_indices[i] to end_indices[i] of the other lists. It grows at its end only.
    """

    start_indices: list[int] = field(default_factory=list)
    end_indices: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ranks: list[int | None] = field(default_factory=list)
    decoded_tokens: list[str | None] = field(default_factory=list)

    def append(self, value: LogprobsOnePosition | None) -> None:
        """Adds a position; None: one without entries."""
        entries = (value or {}).values()
        ranks, texts = [each.rank for each in entries], [each.decoded_token for each in entries]
        self.append_fast(list(value or {}), [each.logprob for each in entries], ranks, texts)

    def append_fast(
        self,
        token_ids: list[int],
        logprobs: list[float],
        ranks: Iterable[int | None],
        decoded_tokens: Iterable[str | None],
    ) -> None:
        """As `append`, without objects in between; `ranks` and `decoded_tokens` may go on for ever."""
        self.start_indices.append(len(self.token_ids))
        self.token_ids += token_ids
        self.logprobs += logprobs
        self.ranks += islice(ranks, len(token_ids))
        self.decoded_tokens += islice(decoded_tokens, len(token_ids))
        self.end_indices.append(len(self.token_ids))

    def __len__(self) -> int:
        return len(self.start_indices)

    def __getitem__(self, index: Any) -> Any:
        """One position's {token id: Logprob}, or FlatLogprobs of a slice."""
        if not isinstance(index, slice):
            return {token: Logprob(*entry) for token, *entry in zip(*self._columns(index), strict=True)}
        part = FlatLogprobs()
        for position in range(*index.indices(len(self))):
            part.append_fast(*self._columns(position))
        return part

    def _columns(self, position: int) -> tuple[list[int], list[float], list[int | None], list[str | None]]:
        entries = slice(self.start_indices[position], self.end_indices[position])
        return self.token_ids[entries], self.logprobs[entries], self.ranks[entries], self.decoded_tokens[entries]

    def __setitem__(self, index: Any, value: Any = None) -> NoReturn:
        raise TypeError("FlatLogprobs grow at their end only: use append or extend")

    __delitem__ = insert = __setitem__


# One entry a generated token.
SampleLogprobs = list[LogprobsOnePosition] | FlatLogprobs
# One entry a prompt token; the first has nothing before it to be predicted from: None, in FlatLogprobs no entries.
PromptLogprobs = list[LogprobsOnePosition | None] | FlatLogprobs


def create_prompt_logprobs(flat_logprobs: bool) -> PromptLogprobs:
    """For a prompt, of which the first token is there already."""
    logprobs = create_sample_logprobs(flat_logprobs)
    logprobs.append(None)
    return logprobs


def create_sample_logprobs(flat_logprobs: bool) -> SampleLogprobs:
    """For an answer that has no tokens yet."""
    return FlatLogprobs() if flat_logprobs else []


def append_logprobs_for_next_position(
    request_logprobs: SampleLogprobs | PromptLogprobs,
    token_ids: list[int],
    logprobs: list[float],
    decoded_tokens: Iterable[str | None],
    rank: int,
    num_logprobs: int,
) -> None:
    """Adds the token that is there, which has this rank, and `num_logprobs` others, ranked 1, 2, ... (-1: all).

    Where it is among the others it keeps its own rank: tokens of one probability share that.
    """
    position: LogprobsOnePosition = {}
    entries = zip(token_ids, logprobs, chain([rank], count(1)), decoded_tokens, strict=False)
    for token, value, its_rank, text in islice(entries, None if num_logprobs == -1 else num_logprobs + 1):
        position.setdefault(token, Logprob(value, its_rank, text))
    request_logprobs.append(position)
