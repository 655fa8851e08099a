"""How to choose tokens and when to stop."""

import copy
import math
import numbers
from enum import IntEnum
from typing import Any

import msgspec

from vllm import envs
from vllm.exceptions import NotOfferedError, VLLMValidationError
from vllm.not_offered import NotOffered

# Temperatures below this are taken as greedy: dividing by them would overflow.
MIN_TEMPERATURE = 1e-5
_INF = math.inf


class RequestOutputKind(IntEnum):
    """What each output of a streamed request holds."""

    CUMULATIVE = 0  # everything so far
    DELTA = 1  # what is new
    FINAL_ONLY = 2  # nothing until the request has finished


class StructuredOutputsParams(NotOffered, advice="answers are not held to a grammar or a schema, leave it out"):
    pass


class BeamSearchParams(NotOffered, advice="use SamplingParams, with n for several answers"):
    pass


class SamplingParams(msgspec.Struct, omit_defaults=True, dict=False):
    """Sampling parameters, with vLLM's names and defaults.

    Raises:
        VLLMValidationError: (a ValueError) naming the field, the value and what is accepted.
        NotOfferedError: for `structured_outputs` and the fields at the end of this list, where they ask for something.
    """

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 (or -1): the whole vocabulary
    min_p: float = 0.0
    seed: int | None = None  # -1 is None, too
    stop: list[str] | str | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16  # None: up to max_model_len
    min_tokens: int = 0
    logprobs: int | None = None  # how many of the most likely tokens to report; -1: all
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE
    structured_outputs: None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    extra_args: dict[str, Any] | None = None
    flat_logprobs: bool = False  # give log probabilities as vllm.logprobs.FlatLogprobs
    # Filled in by the input processor: each bad word's token ids, with and without a space before it.
    bad_words_token_ids: list[list[int]] | None = None

    # Upstream's, each to be left at its default: see _NOT_OFFERED.
    logprob_token_ids: Any = None
    prompt_logprob_token_ids: Any = None
    prompt_logprob_start: Any = None
    repetition_detection: Any = None
    routed_experts_prompt_start: Any = 0
    skip_reading_prefix_cache: Any = None
    stream_interval: Any = None
    thinking_token_budget: Any = None
    trace_decode_token_ids: Any = None
    watermarking: Any = None

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises as the constructor does; numbers of other types become Python's own."""
        self._normalize()
        self._check_numbers()
        self._check_lists()
        self._check_combinations()

    @staticmethod
    def from_optional(**given: Any) -> "SamplingParams":
        """Like the constructor, but None stands for a field's default (as in an HTTP request's body)."""
        keep_none = {"max_tokens"}
        return SamplingParams(**{k: v for k, v in given.items() if v is not None or k in keep_none})

    def clone(self) -> "SamplingParams":
        """A copy that shares lists and dicts with this one; neither side changes those."""
        return copy.copy(self)

    @property
    def greedy(self) -> bool:
        return self.temperature < MIN_TEMPERATURE

    def _normalize(self) -> None:
        if self.stop is None:
            self.stop = []
        elif isinstance(self.stop, str):
            self.stop = [self.stop]
        self.stop_token_ids = _each_once(self.stop_token_ids)
        self.bad_words = _each_once(self.bad_words)
        for name, kind, *_ in _RANGES:
            setattr(self, name, _plain_number(getattr(self, name), kind))
        if self.top_k == -1:
            self.top_k = 0
        if self.seed == -1:
            self.seed = None
        for name in ("logprobs", "prompt_logprobs"):
            if getattr(self, name) is True:
                setattr(self, name, 1)
            elif getattr(self, name) is False:
                setattr(self, name, None)
        if self.logit_bias:
            plain = {token: _plain_number(bias, float) for token, bias in _integer_keys(self.logit_bias).items()}
            self.logit_bias = plain

    def _check_numbers(self) -> None:
        for name, kind, low, high, accepted in _RANGES:
            value = getattr(self, name)
            if value is None and name in _MAY_BE_NONE:
                continue
            kinds = (int,) if kind is int else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                _refuse(name, value, accepted)
        if self.n > (most := envs.VLLM_MAX_N_SEQUENCES):
            raise VLLMValidationError(f"n must be at most {most}, which VLLM_MAX_N_SEQUENCES sets, not {self.n}", "n")
        if self.repetition_penalty == 0:
            _refuse("repetition_penalty", 0.0, "a number greater than 0")
        if self.top_p == 0:
            _refuse("top_p", 0.0, "a number greater than 0 and at most 1")

    def _check_lists(self) -> None:
        for name in ("stop", "bad_words"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple) or not all(isinstance(s, str) and s for s in value):
                _refuse(name, value, "a list of strings that are not empty")
        for name in ("stop_token_ids", "allowed_token_ids"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, list | tuple) and all(_is_token_id(t) for t in value)):
                _refuse(name, value, "a list of token ids (integers from 0)")
        if self.allowed_token_ids is not None and not self.allowed_token_ids:
            _refuse("allowed_token_ids", [], "None or at least one token id")
        if not isinstance(self.logit_bias, dict | None):
            _refuse("logit_bias", self.logit_bias, "a mapping from token ids (integers from 0) to numbers")
        for token_id, bias in (self.logit_bias or {}).items():
            if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
                _refuse("logit_bias", {token_id: bias}, "biases from -100 to 100")
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                _refuse(name, getattr(self, name), "True or False")

    def _check_combinations(self) -> None:
        for name, accepted in _NOT_OFFERED.items():
            value = getattr(self, name)
            if type(value) not in map(type, accepted) or value not in accepted:  # the first also keeps arrays out
                raise NotOfferedError(f"{name} is not offered yet: leave it out", name)
        if self.structured_outputs is not None:
            raise NotOfferedError("structured_outputs is not offered yet: leave it out", "structured_outputs")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            _refuse("min_tokens", self.min_tokens, f"at most max_tokens, which is {self.max_tokens}")
        if self.stop and not self.detokenize:
            _refuse("stop", self.stop, "stop strings only with detokenize=True")


def _plain_number(value: Any, kind: type) -> Any:
    """Numbers of other types, as numpy's, as Python's own, and integers as floats where floats are meant."""
    if isinstance(value, bool | RequestOutputKind) or not isinstance(value, numbers.Real):
        return value
    if isinstance(value, numbers.Integral):
        value = int(value)
    return float(value) if kind is float and abs(value) < _MAX_INT else value


def _each_once(values: Any) -> Any:
    """A list as it is, without repetitions; what is no list of what can be compared, for the check to refuse."""
    try:
        return list(dict.fromkeys(values)) if isinstance(values, list | tuple) else values or []
    except TypeError:
        return values


def _integer_keys(bias: dict) -> dict[int, float]:
    """JSON's keys are strings: {"17": 1.0} means token 17."""
    try:
        converted = {int(token): value for token, value in bias.items()}
    except (AttributeError, TypeError, ValueError):
        converted = {-1: 0.0}
    if any(token < 0 for token in converted):
        _refuse("logit_bias", bias, "a mapping from token ids (integers from 0) to numbers")
    return converted


def _is_token_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _refuse(name: str, value: object, accepted: str) -> None:
    raise VLLMValidationError(f"{name}={value!r} is not accepted: give {accepted}", name)


_MAX_INT = 2**63 - 1
_FLAGS = (
    "ignore_eos",
    "detokenize",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "include_stop_str_in_output",
    "flat_logprobs",
)
_NOT_OFFERED = {
    "logprob_token_ids": (None, []),
    "prompt_logprob_token_ids": (None, []),
    "prompt_logprob_start": (None,),
    "repetition_detection": (None,),
    "routed_experts_prompt_start": (0,),
    "skip_reading_prefix_cache": (None, False),
    "stream_interval": (None, 1),
    "thinking_token_budget": (None, -1),
    "trace_decode_token_ids": (None,),
    "watermarking": (None, False),
}
"""What each field may be that this version does not offer."""
_MAY_BE_NONE = {"seed", "max_tokens", "logprobs", "prompt_logprobs"}
# Field, type, lowest, highest, and what to say. NaN is in no range.
_RANGES: list[tuple[str, type, float, float, str]] = [
    ("n", int, 1, _MAX_INT, "an integer from 1"),
    ("presence_penalty", float, -2, 2, "a number from -2 to 2"),
    ("frequency_penalty", float, -2, 2, "a number from -2 to 2"),
    ("repetition_penalty", float, 0, 1e6, "a number greater than 0"),
    ("temperature", float, 0, 1e6, "a number from 0 (greedy)"),
    ("top_p", float, 0, 1, "a number greater than 0 and at most 1"),
    ("top_k", int, 0, _MAX_INT, "-1 or 0 (whole vocabulary) or an integer from 1"),
    ("min_p", float, 0, 1, "a number from 0 to 1"),
    ("seed", int, -(2**63), _MAX_INT, "None or a 64-bit integer"),
    ("max_tokens", int, 1, _MAX_INT, "None (up to max_model_len) or an integer from 1"),
    ("min_tokens", int, 0, _MAX_INT, "an integer from 0"),
    ("logprobs", int, -1, _MAX_INT, "None, -1 (whole vocabulary) or an integer from 0"),
    ("prompt_logprobs", int, -1, _MAX_INT, "None, -1 (whole vocabulary) or an integer from 0"),
    ("output_kind", int, 0, 2, "a RequestOutputKind"),
]
