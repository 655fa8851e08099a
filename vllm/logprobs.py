"""Log probabilities of tokens as users read them."""

from dataclasses import dataclass


@dataclass
class Logprob:
    """The log probability (natural logarithm) of one token at one position.

    `rank` is the token's place in the whole vocabulary, 1 being the most likely.
    """

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


# One entry a generated token: the sampled token and the top-k others, by token id.
SampleLogprobs = list[dict[int, Logprob]]
# One entry a prompt token; the first has nothing before it to be predicted from and is None.
PromptLogprobs = list[dict[int, Logprob] | None]
