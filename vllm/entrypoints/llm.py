"""Offline inference: the `LLM` class, with the engine in this process."""

import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vllm.chat_content import checked_messages
from vllm.chat_template import read_chat_template
from vllm.config import ModelConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.engine.llm_engine import LLMEngine
from vllm.entrypoints.llm_arguments import (
    Conversation,
    check_template_arguments,
    conversations_in,
    is_one_prompt,
    listed,
    priorities_for,
)
from vllm.exceptions import NotOfferedError, VLLMValidationError
from vllm.generation_config import default_sampling_values
from vllm.inputs import PromptType
from vllm.metrics import Metric
from vllm.not_offered import refuse_given
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.tokenizer import Tokenizer
from vllm.tokenizer_options import adds_special_tokens
from vllm.unread_environment import warn_of_unread_variables

_PARAMS = "sampling_params"
_CALLS = "the processes of a model take no calls"
_QUEUE = "give generate or chat all prompts at once, or use LLMEngine's add_request and step"
_POOLING = "this version generates text only, use generate or chat"


def _not_offered(name: str, advice: str) -> Callable[..., NoReturn]:
    """A method of vLLM's LLM that is refused by name."""

    def refuse(self: "LLM", *args: Any, **kwargs: Any) -> NoReturn:
        raise NotOfferedError(f"LLM.{name} is not offered: {advice}", name)

    return refuse


class LLM:
    """A model that answers batches of prompts. Threads that call it take turns.

    Args:
        model: folder with config.json, installed model, or Hugging Face name.
        chat_template: template for `chat` in place of the model's, or a file that holds it.
        engine_args: every field of EngineArgs (dtype, max_model_len, max_num_seqs, ...).

    Raises:
        VLLMValidationError: for arguments that are unknown, not offered or not accepted.
        ModelError: where the model cannot be read.
    """

    def __init__(self, model: str, *, chat_template: str | Path | None = None, **engine_args: Any):
        warn_of_unread_variables()
        self._chat_template = read_chat_template(chat_template)
        engine_args.setdefault("disable_log_stats", True)
        self.llm_engine = LLMEngine.from_engine_args(EngineArgs(model=str(model), **engine_args))
        self._request_ids = itertools.count()
        self._lock = threading.Lock()  # the engine is for one thread at a time

    def generate(
        self,
        prompts: PromptType | Sequence[PromptType],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool | Callable[..., Any] = True,
        lora_request: None = None,
        priority: Sequence[int] | int | None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: None = None,
    ) -> list[RequestOutput]:
        """Answers prompts, all at once; outputs are in the order of the prompts.

        Args:
            prompts: text, a list of token ids, {"prompt": text}, {"prompt_token_ids": ids}, or a list of these.
            sampling_params: for all prompts or one for each; None: the model's defaults.
            use_tqdm: whether to show a progress bar, or what makes one, as tqdm.
            priority: for all prompts or one for each, lower earlier, with scheduling_policy="priority".
            tokenization_kwargs: {"add_special_tokens": False} takes text as it is.

        Raises VLLMValidationError, before any work, where one of them is refused.
        """
        batch = [prompts] if is_one_prompt(prompts) else listed(prompts, "prompts", "a prompt or a list of prompts")
        refuse_given(lora_request=lora_request, mm_processor_kwargs=mm_processor_kwargs)
        return self._run(batch, sampling_params, use_tqdm, priority, adds_special_tokens(tokenization_kwargs))

    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: bool | Callable[..., Any] = True,
        lora_request: None = None,
        priority: Sequence[int] | int | None = None,
        chat_template: str | None = None,
        chat_template_content_format: str = "auto",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: None = None,
    ) -> list[RequestOutput]:
        """Answers conversations, lists of {"role": ..., "content": ...}, through the model's chat template.

        Content is text or a list of text parts, and templates get it so where they take that; with
        `chat_template_content_format="string"` always as text, with "openai" as parts. Templates write their own
        special tokens; `tokenization_kwargs={"add_special_tokens": True}` adds the tokenizer's. `priority` as generate.
        """
        refuse_given(lora_request=lora_request, mm_processor_kwargs=mm_processor_kwargs)
        conversations = conversations_in(messages)
        check_template_arguments(chat_template, chat_template_content_format, chat_template_kwargs)
        tokenizer = self.get_tokenizer()
        prompts: list[PromptType] = [
            {
                "prompt": tokenizer.render_chat_template(
                    checked_messages(conversation),
                    content_format=chat_template_content_format,
                    chat_template=chat_template or self._chat_template,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=continue_final_message,
                    tools=tools,
                    **(chat_template_kwargs or {}),
                )
            }
            for conversation in conversations
        ]
        special = adds_special_tokens(tokenization_kwargs, unless_said=False)
        return self._run(prompts, sampling_params, use_tqdm, priority, special)

    @classmethod
    def from_engine_args(cls, engine_args: EngineArgs) -> "LLM":
        return cls(**vars(engine_args))

    @property
    def model_config(self) -> ModelConfig:
        return self.llm_engine.model_config

    def get_world_size(self, include_dp: bool = True) -> int:
        """How many processes the model is split among; there is no data parallelism to include."""
        return self.llm_engine.config.parallel_config.tensor_parallel_size

    def get_tokenizer(self) -> Tokenizer:
        if self.llm_engine.tokenizer is None:
            raise VLLMValidationError("there is no tokenizer: skip_tokenizer_init is set", "skip_tokenizer_init")
        return self.llm_engine.tokenizer

    def get_default_sampling_params(self) -> SamplingParams:
        """What the model's generation_config.json suggests, vLLM's defaults for the rest."""
        return SamplingParams(**default_sampling_values(self.llm_engine.config.model_config))

    def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        """As LLMEngine.reset_prefix_cache."""
        with self._lock:
            return self.llm_engine.reset_prefix_cache(reset_running_requests, reset_connector)

    def sleep(self, level: int = 1) -> None:
        """Gives memory back until `wake_up`; the engine needs enable_sleep_mode.

        Level 1 drops the KV cache and, on a GPU, moves the weights to the host; 2 drops both, and wake_up reads the
        weights again. Cached prefixes are forgotten. Raises VLLMValidationError for another level.
        """
        with self._lock:
            self.llm_engine.sleep(level)

    def wake_up(self, tags: list[str] | None = None) -> None:
        """Takes memory again, for those of "weights" and "kv_cache" that `tags` names; None: for all that sleeps."""
        with self._lock:
            self.llm_engine.wake_up(tags)

    def get_metrics(self) -> list[Metric]:
        """What was counted and measured from the engine's start, under the names of the server's /metrics."""
        return self.llm_engine.get_metrics()

    embed = _not_offered("embed", _POOLING)
    encode = _not_offered("encode", _POOLING)
    classify = _not_offered("classify", _POOLING)
    score = _not_offered("score", _POOLING)
    reward = _not_offered("reward", _POOLING)
    beam_search = _not_offered("beam_search", "use generate, with n for several answers")
    collective_rpc = _not_offered("collective_rpc", _CALLS)
    apply_model = _not_offered("apply_model", _CALLS)
    enqueue = _not_offered("enqueue", _QUEUE)
    enqueue_chat = _not_offered("enqueue_chat", _QUEUE)
    wait_for_completion = _not_offered("wait_for_completion", _QUEUE)
    start_profile = _not_offered("start_profile", "use a profiler of your own")
    stop_profile = _not_offered("stop_profile", "use a profiler of your own")

    def _run(
        self,
        prompts: list[PromptType],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None,
        use_tqdm: bool | Callable[..., Any],
        priority: Sequence[int] | int | None,
        add_special_tokens: bool,
    ) -> list[RequestOutput]:
        params = self._params_for(prompts, sampling_params)
        priorities = priorities_for(len(prompts), 0 if priority is None else priority)
        ids = [str(next(self._request_ids)) for _ in prompts]
        with self._lock:
            try:
                for request_id, prompt, each, rank in zip(ids, prompts, params, priorities, strict=True):
                    self.llm_engine.add_request(
                        request_id, prompt, each, priority=rank, add_special_tokens=add_special_tokens
                    )
                outputs = self._finish(len(ids), use_tqdm)
            except BaseException:  # also Ctrl-C: the next call must not find half of this one's work
                self.llm_engine.abort_request(ids)
                raise
        return [outputs[i] for i in ids]

    def _params_for(
        self, prompts: list[PromptType], given: SamplingParams | Sequence[SamplingParams] | None
    ) -> list[SamplingParams]:
        given = self.get_default_sampling_params() if given is None else given
        accepted = "SamplingParams or a list of them"
        params = [given] * len(prompts) if isinstance(given, SamplingParams) else listed(given, _PARAMS, accepted)
        for each in params:
            if not isinstance(each, SamplingParams):
                raise VLLMValidationError(f"{_PARAMS}={each!r} is not accepted: give {accepted}", _PARAMS)
        if len(params) != len(prompts):
            raise VLLMValidationError(
                f"{len(prompts)} prompts but {len(params)} sampling_params: give one for each, or one for all",
                _PARAMS,
            )
        copies = [p.clone() for p in params]
        for each in copies:
            each.output_kind = RequestOutputKind.FINAL_ONLY
        return copies

    def _finish(self, count: int, use_tqdm: bool | Callable[..., Any]) -> dict[str, RequestOutput]:
        """Steps until all requests have finished."""
        finished: dict[str, RequestOutput] = {}
        bar = None
        if use_tqdm:
            from tqdm.auto import tqdm

            make = use_tqdm if callable(use_tqdm) else tqdm
            bar = make(total=count, desc="Processed prompts", dynamic_ncols=True)
        while self.llm_engine.has_unfinished_requests():
            for output in self.llm_engine.step():
                finished[output.request_id] = output
                if bar is not None:
                    bar.update(1)
        if bar is not None:
            bar.close()
        return finished
