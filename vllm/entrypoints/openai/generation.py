"""What /v1/completions and /v1/chat/completions have in common: from outputs of the engine to a body or events."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from vllm.engine.request_stream import RequestStream
from vllm.entrypoints.openai.connection import EventStream, run_while_connected
from vllm.entrypoints.openai.errors import to_api_error
from vllm.entrypoints.openai.load_report import load_headers
from vllm.entrypoints.openai.requests import GenerationRequest
from vllm.entrypoints.openai.responses import PromptTokensDetails, Usage
from vllm.entrypoints.openai.state import ServerState
from vllm.exceptions import EngineDeadError, VLLMValidationError
from vllm.outputs import CompletionOutput, RequestOutput

_CLIENT_CLOSED_REQUEST = 499  # as nginx logs it; nobody reads it
_DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class AnswerWriter(ABC):
    """Writes the answer to one HTTP request. Subclasses know the form; one life is one answer."""

    def __init__(self, answer_id: str, request: GenerationRequest, stream: RequestStream, state: ServerState):
        self.id = answer_id
        self.request = request
        self.stream = stream
        self.state = state
        self.created = int(time.time())
        self.model = request.model or state.model_names[0]
        self.as_token_ids = bool(request.return_tokens_as_token_ids) or state.settings.return_tokens_as_token_ids
        self._prompt_tokens = sum(len(r.prompt_token_ids) for r in stream.requests)
        self._completion_tokens = 0
        self._cached_tokens: dict[str, int] = {}
        self._positions = {r.request_id: i for i, r in enumerate(stream.requests)}
        options = request.stream_options
        forced = state.settings.enable_force_include_usage
        self._include_usage = forced or bool(options and options.include_usage)
        self._continuous_usage = forced or bool(options and options.include_usage and options.continuous_usage_stats)

    async def respond(self, http_request: Request) -> Response:
        """The response; the requests are freed when it ends, also when the client goes away."""
        if self.request.stream:
            return EventStream(self._events(), on_end=self.stream.close)
        try:
            body = await run_while_connected(http_request.receive, self._body())
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        except (EngineDeadError, VLLMValidationError) as error:
            return to_api_error(error, was_running=True).response()
        finally:
            self.stream.close()
        headers = load_headers(http_request, self.state.llm.stats)
        return Response(_encode(body), headers=headers, media_type="application/json")

    @abstractmethod
    def write_body(self, outputs: list[RequestOutput]) -> msgspec.Struct:
        """The whole answer, from the final output of each prompt, in the order of the prompts."""

    @abstractmethod
    def write_chunks(self, position: int, output: RequestOutput) -> Iterable[msgspec.Struct]:
        """The events for what is new of one prompt's answers; `position` is the prompt's."""

    @abstractmethod
    def usage_chunk(self, usage: Usage) -> msgspec.Struct:
        """The event after the last, without choices."""

    def count(self, output: RequestOutput, num_tokens: int) -> None:
        """Adds generated tokens to the usage."""
        self._completion_tokens += num_tokens
        self._cached_tokens[output.request_id] = output.num_cached_tokens

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self._prompt_tokens,
            total_tokens=self._prompt_tokens + self._completion_tokens,
            completion_tokens=self._completion_tokens,
            prompt_tokens_details=self._prompt_details(),
        )

    def _prompt_details(self) -> PromptTokensDetails | None:
        if not self.state.settings.enable_prompt_tokens_details:
            return None
        return PromptTokensDetails(sum(self._cached_tokens.values()))

    def event_usage(self) -> Usage | None | msgspec.UnsetType:
        """`usage` of an event that is not the last: null where the last has it, as OpenAI does."""
        if self._continuous_usage:
            return self.usage()
        return None if self._include_usage else msgspec.UNSET

    def says_nothing(self, completion: CompletionOutput) -> bool:
        """Whether an event can be left out: half a character, or text held back for a stop string."""
        return (
            not completion.text
            and completion.finish_reason is None
            and not completion.logprobs
            and not self.request.return_token_ids
            and not self._continuous_usage
        )

    async def _body(self) -> msgspec.Struct:
        final: dict[str, RequestOutput] = {}
        while not self.stream.finished:
            final.update({output.request_id: output for output in await self.stream.get()})
        return self.write_body([final[request.request_id] for request in self.stream.requests])

    async def _events(self) -> AsyncGenerator[bytes, None]:
        try:
            while not self.stream.finished:
                chunks: list[bytes] = []
                for output in await self.stream.get():
                    position = self._positions[output.request_id]
                    chunks += [_event(chunk) for chunk in self.write_chunks(position, output)]
                if chunks:
                    yield b"".join(chunks)
            yield (_event(self.usage_chunk(self.usage())) if self._include_usage else b"") + _DONE
        except (EngineDeadError, VLLMValidationError) as error:
            yield _event(to_api_error(error, was_running=True).body()) + _DONE


def _event(chunk: msgspec.Struct) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"
