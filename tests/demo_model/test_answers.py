"""The demo model in the engine: the first things that people ask get a sensible sentence."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checkout import ROOT
from vllm import LLM, SamplingParams

INSTALLED = Path(sys.prefix) / "share/vllm/models/vllm-demo-model"
FOLDER = INSTALLED if INSTALLED.is_dir() else ROOT / "recipes/vllm-demo-model/model"
QUESTIONS = {
    "Hello!": "Hello",
    "hi": "Hello",
    "How are you?": "well",
    "Who are you?": "demo model",
    "What is your name?": "vllm-demo-model",
    "What is this?": "vllm",
    "What is vllm?": "inference engine",
    "What can you do?": "I can",
    "How do I install vllm?": "`conda install vllm`",
    "How do I start the server?": "vllm serve",
    "Which variants are there?": "cpu-v3",
    "How do I use curl?": "curl http://127.0.0.1:8000/v1/chat/completions",
    "Which endpoints are there?": "/v1/models",
    "What is the capital of France?": "Paris",
    "what's 7+5": "12",
    "What is 27 + 15?": "42",
    "What is 6 times 7?": "42",
    "What is the opposite of hot?": "cold",
    "Tell me a joke": "model",
    "What is the meaning of life?": "don't know",
    "Who won the 1998 world cup?": "don't know",
    "Thank you!": "welcome",
    "Goodbye": "Goodbye",
}


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    yield LLM(str(FOLDER), kv_cache_memory_bytes=64 << 20)


def test_first_questions(llm: LLM) -> None:
    conversations = [[{"role": "user", "content": question}] for question in QUESTIONS]
    outputs = llm.chat(conversations, SamplingParams(temperature=0, max_tokens=200), use_tqdm=False)
    answers = {question: output.outputs[0] for question, output in zip(QUESTIONS, outputs, strict=True)}
    wrong = {q: answers[q].text for q, part in QUESTIONS.items() if part not in answers[q].text}
    assert not wrong
    assert {answer.finish_reason for answer in answers.values()} == {"stop"}


def test_a_chat_of_several_turns(llm: LLM) -> None:
    turns = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of Italy?"},
        {"role": "assistant", "content": "The capital of Italy is Rome."},
        {"role": "user", "content": "and Spain?"},
    ]
    (output,) = llm.chat(turns, SamplingParams(temperature=0, max_tokens=50), use_tqdm=False)
    assert output.outputs[0].text == "The capital of Spain is Madrid."


def test_completion_of_a_sentence(llm: LLM) -> None:
    (output,) = llm.generate("The capital of France is", SamplingParams(temperature=0, max_tokens=10), use_tqdm=False)
    assert output.outputs[0].text == " Paris."
