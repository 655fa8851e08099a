"""From a prompt and sampling parameters to requests of the engine's core."""

import itertools
import random
import time
from dataclasses import dataclass
from typing import Any

from vllm.config import VllmConfig
from vllm.exceptions import (
    EmptyPromptError,
    PromptTooLongError,
    TokenOutOfVocabularyError,
    VLLMValidationError,
)
from vllm.generation_config import eos_token_ids
from vllm.inputs import PromptType, refuse_what_is_not_offered
from vllm.messages import EngineRequest
from vllm.sampling_params import SamplingParams
from vllm.tokenizer import Tokenizer


@dataclass(slots=True)
class ProcessedInput:
    """A request of the user and the sequences that it needs: `n` of them.

    `prompt` is None where token ids were given. `params` are the user's, with `n` and `output_kind`.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    params: SamplingParams
    arrival_time: float
    engine_requests: list[EngineRequest]


class InputProcessor:
    """Tokenizes, checks, fills in what depends on the model, and expands `n`."""

    def __init__(self, config: VllmConfig, tokenizer: Tokenizer | None):
        self._model = config.model_config
        self._tokenizer = tokenizer
        self._random = random.Random(self._model.seed)
        self._serial = itertools.count()
        self.eos_token_ids = eos_token_ids(self._model, tokenizer.eos_token_id if tokenizer else None)

    def process(
        self,
        request_id: str,
        prompt: PromptType,
        params: SamplingParams,
        *,
        arrival_time: float | None = None,
        priority: int = 0,
        add_special_tokens: bool = True,
    ) -> ProcessedInput:
        """Raises VLLMValidationError (PromptTooLongError, EmptyPromptError, TokenOutOfVocabularyError, ...)."""
        text, token_ids = self._tokenize(prompt, add_special_tokens)
        self._check_prompt(token_ids)
        self._check_params(params)
        _check_priority(priority)
        arrival_time = time.time() if arrival_time is None else arrival_time
        # The core's ids come once: what it still says of a sequence that is gone belongs to no later one, whatever
        # the user calls that.
        serial = next(self._serial)
        requests = [
            EngineRequest(
                request_id=f"{serial}.{index}",
                prompt_token_ids=token_ids,
                sampling_params=child,
                eos_token_ids=self.eos_token_ids,
                arrival_time=arrival_time,
                priority=priority,
            )
            for index, child in enumerate(self._children(params, len(token_ids)))
        ]
        return ProcessedInput(request_id, text, token_ids, params, arrival_time, requests)

    def _tokenize(self, prompt: PromptType, add_special_tokens: bool) -> tuple[str | None, list[int]]:
        if isinstance(prompt, dict):
            refuse_what_is_not_offered(prompt)
            if "prompt_token_ids" in prompt:
                return prompt.get("prompt"), _token_ids(prompt["prompt_token_ids"])
            prompt = prompt.get("prompt")  # type: ignore[assignment]
        if isinstance(prompt, list):
            return None, _token_ids(prompt)
        if not isinstance(prompt, str):
            raise VLLMValidationError(
                'a prompt must be text, token ids, {"prompt": text} or {"prompt_token_ids": [ids]}, '
                f"not {type(prompt).__name__}",
                "prompt",
            )
        if self._tokenizer is None:
            raise VLLMValidationError(
                "`skip_tokenizer_init=True` leaves no tokenizer: give prompt_token_ids in place of text", "prompt"
            )
        return prompt, self._tokenizer.encode(prompt, add_special_tokens)

    def _check_prompt(self, token_ids: list[int]) -> None:
        if not token_ids:
            raise EmptyPromptError
        if len(token_ids) >= self._model.max_model_len:
            raise PromptTooLongError(len(token_ids), self._model.max_model_len)
        self._check_vocabulary(token_ids, "prompt_token_ids")

    def _check_vocabulary(self, token_ids: Any, name: str) -> None:
        lowest, highest = min(token_ids, default=0), max(token_ids, default=0)
        if lowest < 0 or highest >= self._model.vocab_size:
            raise TokenOutOfVocabularyError(lowest if lowest < 0 else highest, self._model.vocab_size, name)

    def _check_params(self, params: SamplingParams) -> None:
        params.check()  # fields may have been set since they were checked
        for name in ("logprobs", "prompt_logprobs"):
            wanted, limit = getattr(params, name), self._model.max_logprobs
            wanted = self._model.vocab_size if wanted == -1 else wanted
            if wanted is not None and 0 <= limit < wanted:
                raise VLLMValidationError(f"{name}={wanted} is not accepted: max_logprobs is {limit}", name)
        for name in ("stop_token_ids", "allowed_token_ids", "logit_bias"):
            self._check_vocabulary(getattr(params, name) or (), name)
        if self._tokenizer is None and (params.stop or params.bad_words):
            name = "stop" if params.stop else "bad_words"
            raise VLLMValidationError(f"{name} needs a tokenizer, but skip_tokenizer_init is set", name)

    def _children(self, params: SamplingParams, prompt_tokens: int) -> list[SamplingParams]:
        """One copy a sequence, complete: its own seed, a bounded max_tokens, bad words as token ids."""
        room = self._model.max_model_len - prompt_tokens
        if params.max_tokens is None and params.min_tokens > room:
            raise VLLMValidationError(
                f"min_tokens={params.min_tokens} is not accepted: the prompt leaves {room} tokens of max_model_len, "
                "give at most that",
                "min_tokens",
            )
        seed = self._random.getrandbits(62) if params.seed is None else params.seed
        bad_words = self._bad_words(params.bad_words or [])
        children = []
        for index in range(params.n):
            child = params.clone()
            child.n = 1
            child.seed = _in_64_bits(seed + index)
            child.max_tokens = room if params.max_tokens is None else min(params.max_tokens, room)
            child.min_tokens = min(params.min_tokens, child.max_tokens)
            child.bad_words_token_ids = bad_words or None
            child.extra_args = None  # for plugins that this engine does not have
            child.logprobs = self._top_count(params.logprobs)
            child.prompt_logprobs = self._top_count(params.prompt_logprobs)
            children.append(child)
        return children

    def _top_count(self, wanted: int | None) -> int | None:
        """How many of the likeliest tokens: -1 is all, and there are no more than that."""
        size = self._model.vocab_size
        return size if wanted == -1 else wanted and min(wanted, size)

    def _bad_words(self, words: list[str]) -> list[list[int]]:
        """A word inside a text is often another token (with a leading space) than one at its start: forbid both."""
        sequences: list[list[int]] = []
        for word in words:
            bare, spaced = (self._encode(text) for text in (word.lstrip(), " " + word.lstrip()))
            if not bare:
                raise VLLMValidationError(f"bad_words={[word]!r} is not accepted: it has no tokens", "bad_words")
            for ids in (bare, spaced):
                # The tokenizer may know tokens that the model has no logits for.
                if ids and ids not in sequences and max(ids) < self._model.vocab_size:
                    sequences.append(ids)
        return sequences

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False) if self._tokenizer else []


def _in_64_bits(seed: int) -> int:
    """The signed number that the 64 lowest bits are."""
    return (seed + 2**63) % 2**64 - 2**63


def _check_priority(value: Any) -> None:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise VLLMValidationError(f"priority={_shown(value)} is not accepted: give a 64-bit integer", "priority")


def _token_ids(value: Any) -> list[int]:
    """A list of integers; numpy arrays and tuples of them are taken too."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple) or not all(type(token) is int for token in value):
        raise VLLMValidationError(f"prompt_token_ids must be a list of integers, not {_shown(value)}", "prompt")
    return list(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
