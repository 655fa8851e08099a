"""POST /v1/chat/completions."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from vllm.engine.input_processor import ProcessedInput
from vllm.entrypoints.openai.body import parse_fields, read_object
from vllm.entrypoints.openai.completions import truncate_prompt
from vllm.entrypoints.openai.generation import AnswerWriter
from vllm.entrypoints.openai.limits import check_sequences, max_answer_tokens
from vllm.entrypoints.openai.logprobs import chat_logprobs, prompt_logprob_list
from vllm.entrypoints.openai.messages import answer_role, echoed_text, render_chat
from vllm.entrypoints.openai.request_headers import new_id, priority_of
from vllm.entrypoints.openai.requests import CHAT_RULES, ChatCompletionRequest
from vllm.entrypoints.openai.responses import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    Usage,
)
from vllm.entrypoints.openai.state import ServerState, state_of
from vllm.outputs import CompletionOutput, RequestOutput

_Default = TypeVar("_Default", None, msgspec.UnsetType)


async def create_chat_completion(http_request: Request) -> Response:
    return await answer_chat(http_request, await read_object(http_request))


async def answer_chat(http_request: Request, fields: dict[str, Any]) -> Response:
    """`fields`: the body's."""
    state = state_of(http_request)
    request = parse_fields(fields, ChatCompletionRequest, CHAT_RULES)
    state.check_model(request.model)
    answer_id = new_id("chatcmpl", http_request, request.request_id)
    request.priority = priority_of(http_request, request.priority)
    stream = await state.llm.submit([await _prepare(request, answer_id, state)])
    return await ChatWriter(answer_id, request, stream, state).respond(http_request)


async def _prepare(request: ChatCompletionRequest, answer_id: str, state: ServerState) -> ProcessedInput:
    name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    max_tokens = max_answer_tokens(request.max_answer_tokens, state, name)
    params = request.to_sampling_params(max_tokens, state.sampling_defaults)
    check_sequences(1, params.n)
    # Templates write the special tokens themselves.
    add_special_tokens = bool(request.add_special_tokens)
    prompt = await truncate_prompt(render_chat(request, state), request, state, add_special_tokens)
    return await state.llm.prepare(
        answer_id, prompt, params, priority=request.priority, add_special_tokens=add_special_tokens
    )


class ChatWriter(AnswerWriter):
    """The role comes in each choice's first event, with what is echoed; the answer in the following ones."""

    request: ChatCompletionRequest

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._started: set[int] = set()
        self._prompt_sent = False
        self._role = answer_role(self.request, self.state)
        self._echoed = echoed_text(self.request, self._role)

    def write_body(self, outputs: list[RequestOutput]) -> ChatCompletion:
        output = outputs[0]
        choices = [self._choice(output, completion) for completion in output.outputs]
        body = ChatCompletion(id=self.id, created=self.created, model=self.model, choices=choices, usage=self.usage())
        self._add_prompt(body, output)
        return body

    def write_chunks(self, position: int, output: RequestOutput) -> Iterable[ChatChunk]:
        for completion in output.outputs:
            if completion.index not in self._started:
                yield self._first_chunk(completion.index, output)
            self.count(output, len(completion.token_ids))
            if not self.says_nothing(completion):
                yield self._chunk(self._delta_choice(completion))

    def usage_chunk(self, usage: Usage) -> ChatChunk:
        return ChatChunk(id=self.id, created=self.created, model=self.model, choices=[], usage=usage)

    def _choice(self, output: RequestOutput, completion: CompletionOutput) -> ChatChoice:
        self.count(output, len(completion.token_ids))
        return ChatChoice(
            index=completion.index,
            message=ChatMessage(self._role, self._echoed + completion.text),
            logprobs=self._logprobs(completion),
            finish_reason=completion.finish_reason,
            stop_reason=completion.stop_reason,
            token_ids=self._token_ids(completion, None),
        )

    def _delta_choice(self, completion: CompletionOutput) -> ChatChunkChoice:
        return ChatChunkChoice(
            index=completion.index,
            delta=ChatDelta(content=completion.text),
            logprobs=self._logprobs(completion),
            finish_reason=completion.finish_reason,
            stop_reason=UNSET if completion.finish_reason is None else completion.stop_reason,
            token_ids=self._token_ids(completion, UNSET),
        )

    def _first_chunk(self, index: int, output: RequestOutput) -> ChatChunk:
        self._started.add(index)
        chunk = self._chunk(ChatChunkChoice(index, ChatDelta(self._role, self._echoed)))
        if not self._prompt_sent:
            self._prompt_sent = True
            self._add_prompt(chunk, output)
        return chunk

    def _chunk(self, choice: ChatChunkChoice) -> ChatChunk:
        return ChatChunk(self.id, self.created, self.model, [choice], self.event_usage())

    def _add_prompt(self, target: ChatCompletion | ChatChunk, output: RequestOutput) -> None:
        if self.request.return_token_ids:
            target.prompt_token_ids = self.stream.requests[0].prompt_token_ids
        if self.request.prompt_logprobs is not None and output.prompt_logprobs is not None:
            target.prompt_logprobs = prompt_logprob_list(output.prompt_logprobs)

    def _logprobs(self, completion: CompletionOutput) -> ChatLogprobs | None:
        if not self.request.logprobs or completion.logprobs is None:
            return None
        num_top = self.request.top_logprobs
        return chat_logprobs(completion.token_ids, completion.logprobs, num_top, self.as_token_ids)

    def _token_ids(self, completion: CompletionOutput, default: _Default) -> list[int] | _Default:
        return list(completion.token_ids) if self.request.return_token_ids else default
