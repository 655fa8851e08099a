"""What becomes of request fields beyond those that a request model has.

Three kinds: fields that OpenAI's clients send and that change nothing here are dropped; fields of OpenAI's or vLLM's
interface that are not offered are refused by name, unless their value asks for nothing; any other field is refused
as unknown, so that a misspelt one is never silently ignored.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm.entrypoints.openai.errors import ApiError

# Bookkeeping of OpenAI's platform and hints about scheduling: without effect on the answer.
NEUTRAL_FIELDS = frozenset(
    [
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "parallel_tool_calls",
        "include_reasoning",
        "session_id",
    ]
)

_NO_TOOLS = "tool calls are not parsed"
_NO_STRUCTURE = "output cannot be constrained to a grammar"
_NO_REASONING = "reasoning is not split from the answer"
_TEXT_ONLY = "models take and give text only"

# Field -> (values besides null that ask for nothing, why it is refused).
_SHARED = {
    "structured_outputs": ((), _NO_STRUCTURE),
    "guided_json": ((), _NO_STRUCTURE),
    "guided_regex": ((), _NO_STRUCTURE),
    "guided_choice": ((), _NO_STRUCTURE),
    "guided_grammar": ((), _NO_STRUCTURE),
    "guided_decoding_backend": ((), _NO_STRUCTURE),
    "response_format": (({"type": "text"},), _NO_STRUCTURE),
    "best_of": ((1,), "answers are not ranked; use n"),
    "use_beam_search": ((False,), "there is no beam search"),
    "length_penalty": ((1.0,), "there is no beam search"),
    "early_stopping": ((False,), "there is no beam search"),
    "logits_processors": (([],), "use logit_bias, allowed_token_ids or bad_words"),
    "repetition_detection": ((), "use repetition_penalty"),
    "cache_salt": ((), "the prefix cache is shared by all requests"),
    "kv_transfer_params": ((), "the KV cache stays in one process"),
    "ec_transfer_params": ((), "the KV cache stays in one process"),
    "vllm_xargs": (({},), "there are no extra arguments"),
    "logprob_token_ids": (([],), "logprobs are of the likeliest tokens"),
    "thinking_token_budget": ((), _NO_REASONING),
    "watermarking": ((False,), "answers are not marked"),
    "stream_interval": ((1,), "a stream has an event for each step"),
    "return_weight_versions": ((False,), "the model stays as it was loaded"),
    "routed_experts_prompt_start": ((0,), "models have no experts"),
    "return_token_offsets": ((False,), "/tokenize tells a prompt's tokens"),
    "return_mm_kwargs": ((False,), _TEXT_ONLY),
    "mm_payload": ((), _TEXT_ONLY),
    "priority_class": ((), "use priority"),
}
_COMPLETION = {
    **_SHARED,
    "suffix": (("",), "models complete text at its end"),
    "prompt_embeds": (([],), "give the prompt as text or as token ids"),
}
_CHAT = {
    **_SHARED,
    "tools": (([],), _NO_TOOLS),
    "tool_choice": (("none", "auto"), _NO_TOOLS),
    "functions": (([],), _NO_TOOLS),
    "function_call": (("none", "auto"), _NO_TOOLS),
    "reasoning_effort": (("none",), _NO_REASONING),
    "return_prompt_text": ((False,), "/tokenize tells a prompt's tokens"),
    "modalities": ((["text"],), _TEXT_ONLY),
    "audio": ((), _TEXT_ONLY),
    "mm_processor_kwargs": (({},), _TEXT_ONLY),
    "media_io_kwargs": (({},), _TEXT_ONLY),
    "prediction": ((), "drafts are looked up in the prompt and the answer alone"),
    "web_search_options": ((), "the server reaches no network"),
    "verbosity": (("medium",), "say in the prompt how long the answer should be"),
    "moderation": ((), "answers are not moderated"),
    "documents": (([],), "put documents into the messages"),
}


@dataclass(frozen=True)
class FieldRules:
    """`offered`: the request model's fields; `refused`: field -> (values that ask for nothing, reason)."""

    offered: frozenset[str]
    refused: Mapping[str, tuple[tuple[Any, ...], str]]

    def check(self, fields: dict[str, Any]) -> None:
        """Removes fields without effect; raises ApiError for the first that is refused or unknown."""
        for name in [name for name in fields if name not in self.offered]:
            value = fields.pop(name)
            if name in NEUTRAL_FIELDS:
                continue
            if name not in self.refused:
                raise ApiError(400, self._describe_unknown(name), param=name)
            accepted, reason = self.refused[name]
            if value is not None and value not in accepted:
                raise ApiError(400, f"{name} is not offered yet: {reason}; leave it out", param=name)

    def _describe_unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.offered | self.refused.keys(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"accepted are {', '.join(sorted(self.offered))}"
        return f"unknown field {name!r}; {hint}"


def completion_rules(offered: Iterable[str]) -> FieldRules:
    return FieldRules(frozenset(offered), _COMPLETION)


def chat_rules(offered: Iterable[str]) -> FieldRules:
    return FieldRules(frozenset(offered), _CHAT)


def plain_rules(offered: Iterable[str]) -> FieldRules:
    return FieldRules(frozenset(offered), {})
