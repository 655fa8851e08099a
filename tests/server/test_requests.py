"""Requests under upstream's names, without a server."""

import pydantic
import pytest

from vllm.entrypoints.openai.chat_completion.protocol import BatchChatCompletionRequest, ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.exceptions import NotOfferedError, VLLMValidationError
from vllm.sampling_params import RequestOutputKind

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("kind", "asked"), [(ChatCompletionRequest, {"messages": MESSAGES}), (CompletionRequest, {"prompt": "hi"})]
)
def test_what_a_request_leaves_open_the_model_decides(kind, asked):
    defaults = {"temperature": 0.5, "presence_penalty": 1.5, "stop_token_ids": [7, 8]}
    params = kind(**asked, presence_penalty=0.0, stop_token_ids=[8, 9]).to_sampling_params(5, defaults)
    assert (params.temperature, params.presence_penalty, params.max_tokens) == (0.5, 0.0, 5)
    assert params.stop_token_ids == [8, 9, 7]
    assert params.output_kind == RequestOutputKind.FINAL_ONLY
    params = kind(**asked, n=3, stream=True).to_sampling_params(None)
    assert (params.n, params.max_tokens, params.bad_words) == (3, None, [])
    assert params.output_kind == RequestOutputKind.DELTA


def test_logprobs():
    assert (
        ChatCompletionRequest(messages=MESSAGES, logprobs=True, top_logprobs=None).to_sampling_params(1).logprobs == 0
    )
    params = CompletionRequest(prompt="hi", echo=True, max_tokens=0, logprobs=2).to_sampling_params(0)
    assert (params.max_tokens, params.logprobs, params.prompt_logprobs) == (1, 2, 2)
    with pytest.raises(VLLMValidationError, match="top_logprobs needs logprobs"):
        ChatCompletionRequest(messages=MESSAGES, top_logprobs=2).to_sampling_params(1)


def test_what_is_no_request():
    for body in ("text", ["a"], 5, None):
        with pytest.raises(pydantic.ValidationError):
            ChatCompletionRequest.model_validate(body)
    with pytest.raises(NotOfferedError, match="for each conversation"):
        BatchChatCompletionRequest(messages=[MESSAGES])
