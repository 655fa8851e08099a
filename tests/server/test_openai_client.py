"""The openai package, unchanged, against the server."""

import asyncio

import pytest

openai = pytest.importorskip("openai", reason="the openai package is the client under test")

MESSAGES = [{"role": "user", "content": "hello"}]
GREEDY = {"temperature": 0, "max_tokens": 10}


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_models(client):
    assert [model.id for model in client.models.list()] == ["tiny", "alias"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_chat(client):
    answer = client.chat.completions.create(model="tiny", messages=MESSAGES, **GREEDY)
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage.completion_tokens <= 10
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0


def test_streamed_chat_is_the_chat(client):
    whole = client.chat.completions.create(model="tiny", messages=MESSAGES, **GREEDY)
    stream = client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **GREEDY
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_logprobs(client):
    answer = client.chat.completions.create(model="tiny", messages=MESSAGES, logprobs=True, top_logprobs=2, **GREEDY)
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2


def test_completions(client):
    answer = client.completions.create(model="tiny", prompt=["a", "b"], n=2, logprobs=1, echo=True, **GREEDY)
    assert [choice.text[0] for choice in answer.choices] == ["a", "a", "b", "b"]
    chunks = client.completions.create(model="tiny", prompt="a", stream=True, **GREEDY)
    alone = client.completions.create(model="tiny", prompt="a", **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in chunks) == alone.choices[0].text


def test_extra_fields_of_vllm(client):
    extra = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": True, "min_tokens": 2}
    answer = client.chat.completions.create(model="tiny", messages=MESSAGES, extra_body=extra, **GREEDY)
    assert answer.usage.completion_tokens == 10


def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="other", messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny", messages=MESSAGES, temperature=-1)
    assert refused.value.param == "temperature"


def test_many_at_once(server):
    async def ask_all():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused") as client:
            asks = (
                client.chat.completions.create(
                    model="tiny", messages=[{"role": "user", "content": str(i % 4)}], **GREEDY
                )
                for i in range(32)
            )
            return [answer.choices[0].message.content for answer in await asyncio.gather(*asks)]

    texts = asyncio.run(ask_all())
    assert all(text == texts[i % 4] for i, text in enumerate(texts))
