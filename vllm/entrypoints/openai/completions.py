"""POST /v1/completions."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from vllm.engine.input_processor import ProcessedInput
from vllm.engine.off_the_loop import off_the_loop
from vllm.entrypoints.openai.body import parse_fields, read_object
from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.generation import AnswerWriter
from vllm.entrypoints.openai.limits import check_sequences, max_answer_tokens
from vllm.entrypoints.openai.logprobs import CompletionLogprobWriter, join, prompt_logprob_list
from vllm.entrypoints.openai.request_headers import new_id, priority_of
from vllm.entrypoints.openai.requests import COMPLETION_RULES, CompletionRequest, GenerationRequest
from vllm.entrypoints.openai.responses import Completion, CompletionChoice, CompletionLogprobs, Usage
from vllm.entrypoints.openai.state import ServerState, state_of
from vllm.outputs import CompletionOutput, RequestOutput


async def create_completion(http_request: Request) -> Response:
    return await answer_completion(http_request, await read_object(http_request))


async def answer_completion(http_request: Request, fields: dict[str, Any]) -> Response:
    """`fields`: the body's."""
    state = state_of(http_request)
    request = parse_fields(fields, CompletionRequest, COMPLETION_RULES)
    state.check_model(request.model)
    answer_id = new_id("cmpl", http_request, request.request_id)
    request.priority = priority_of(http_request, request.priority)
    stream = await state.llm.submit(await _prepare(request, answer_id, state))
    return await CompletionWriter(answer_id, request, stream, state).respond(http_request)


async def _prepare(request: CompletionRequest, answer_id: str, state: ServerState) -> list[ProcessedInput]:
    params = request.to_sampling_params(max_answer_tokens(request.max_tokens, state), state.sampling_defaults)
    prompts = _prompts(request.prompt)
    check_sequences(len(prompts), params.n)
    special = request.add_special_tokens is not False
    prepared = []
    for position, prompt in enumerate(prompts):
        prepared.append(
            await state.llm.prepare(
                f"{answer_id}-{position}",
                await truncate_prompt(prompt, request, state, special),
                params.clone(),
                priority=request.priority,
                add_special_tokens=special,
            )
        )
        await asyncio.sleep(0)  # a batch of prompts lets other requests in between
    return prepared


def _prompts(prompt: Any) -> list[str | dict[str, list[int]]]:
    """One entry a prompt; token ids as the engine takes them."""
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        prompt = [prompt]
    return [p if isinstance(p, str) else {"prompt_token_ids": p} for p in prompt]


async def truncate_prompt(
    prompt: str | dict[str, list[int]], request: GenerationRequest, state: ServerState, add_special_tokens: bool
) -> str | dict[str, list[int]]:
    """Keeps `truncate_prompt_tokens` tokens, the last or, with `truncation_side` "right", the first; -1: what fits."""
    limit = request.truncate_prompt_tokens
    if limit is None:
        return prompt
    if limit > state.max_model_len:
        raise ApiError(
            400,
            f"truncate_prompt_tokens={limit} is not accepted: give at most max_model_len, {state.max_model_len}",
            param="truncate_prompt_tokens",
        )
    if isinstance(prompt, str):
        ids = await off_the_loop(lambda: state.tokenizer().encode(prompt, add_special_tokens), len(prompt))
    else:
        ids = prompt["prompt_token_ids"]
    keep = state.max_model_len - 1 if limit == -1 else limit
    if request.truncation_side == "right":
        return {"prompt_token_ids": ids[:keep]}
    return {"prompt_token_ids": ids[-keep:] if keep else []}


class CompletionWriter(AnswerWriter):
    """Answer i of prompt p is choice p * n + i."""

    request: CompletionRequest

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._logprob_writers: dict[int, CompletionLogprobWriter] = {}
        self._echo_only = self.request.is_echo_only

    def write_body(self, outputs: list[RequestOutput]) -> Completion:
        choices = [
            self._choice(position, output, completion).complete()
            for position, output in enumerate(outputs)
            for completion in output.outputs
        ]
        return self._completion(choices, self.usage())

    def write_chunks(self, position: int, output: RequestOutput) -> Iterable[Completion]:
        for completion in output.outputs:
            is_first = self._index(position, completion) not in self._logprob_writers
            choice = self._choice(position, output, completion)
            if not self.says_nothing(completion) or (is_first and self.request.echo):
                yield self._completion([choice], self.event_usage())

    def usage_chunk(self, usage: Usage) -> Completion:
        return self._completion([], usage)

    def _completion(self, choices: list[CompletionChoice], usage: Usage | None | msgspec.UnsetType) -> Completion:
        return Completion(id=self.id, created=self.created, model=self.model, choices=choices, usage=usage)

    def _index(self, position: int, completion: CompletionOutput) -> int:
        return position * (self.request.n or 1) + completion.index

    def _choice(self, position: int, output: RequestOutput, completion: CompletionOutput) -> CompletionChoice:
        index = self._index(position, completion)
        is_first = index not in self._logprob_writers
        writer = self._logprob_writers.setdefault(index, CompletionLogprobWriter(self.as_token_ids))
        choice = CompletionChoice(index, "", None, completion.finish_reason, completion.stop_reason)
        if is_first:
            self._add_prompt(choice, writer, position, output)
        if not self._echo_only:
            self.count(output, len(completion.token_ids))
            choice.text += completion.text
            if completion.logprobs is not None and self.request.logprobs is not None:
                choice.logprobs = join(choice.logprobs, writer.write(completion.token_ids, completion.logprobs))
        if self.request.return_token_ids:
            choice.token_ids = [] if self._echo_only else list(completion.token_ids)
        return choice

    def _add_prompt(
        self, choice: CompletionChoice, writer: CompletionLogprobWriter, position: int, output: RequestOutput
    ) -> None:
        """What only an answer's first event says: the prompt, as far as it was asked for."""
        ids = self.stream.requests[position].prompt_token_ids
        if self.request.echo:
            choice.text = self._prompt_text(position)
            choice.logprobs = self._prompt_logprobs(ids, writer, output)
        if self.request.return_token_ids:
            choice.prompt_token_ids = ids
        if self.request.prompt_logprobs is not None and output.prompt_logprobs is not None:
            choice.prompt_logprobs = prompt_logprob_list(output.prompt_logprobs)

    def _prompt_text(self, position: int) -> str:
        processed = self.stream.requests[position]
        return self._decode(processed.prompt_token_ids) if processed.prompt is None else processed.prompt

    def _decode(self, ids: list[int]) -> str:
        """Nothing, where the server runs without a tokenizer."""
        return "" if self.state.llm.tokenizer is None else self.state.llm.tokenizer.decode(ids)

    def _prompt_logprobs(
        self, ids: list[int], writer: CompletionLogprobWriter, output: RequestOutput
    ) -> CompletionLogprobs | None:
        if self.request.logprobs is None or output.prompt_logprobs is None:
            return None
        return writer.write(ids, output.prompt_logprobs, self._decode(ids[:1]))
