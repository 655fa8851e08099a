"""What LLM refuses, in one line and before any work."""

import pytest

from support.models import VOCAB_SIZE, save_model, save_tokenizer
from vllm import LLM, SamplingParams
from vllm.exceptions import NotOfferedError, VLLMValidationError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    save_tokenizer(folder, "{{ messages }}")
    return folder


@pytest.fixture(scope="module")
def llm(folder):
    return LLM(str(folder), dtype="float32", max_model_len=256, block_size=8)


@pytest.mark.parametrize(
    ("prompt", "params", "expected"),
    [
        ({"prompt_token_ids": []}, {}, "the decoder prompt cannot be empty"),
        ("", {}, "the decoder prompt cannot be empty"),
        (
            {"prompt_token_ids": [1, VOCAB_SIZE]},
            {},
            f"holds {VOCAB_SIZE}, .* out of vocabulary: give ids from 0 to {VOCAB_SIZE - 1}",
        ),
        ({"prompt_token_ids": [-1]}, {}, "holds -1"),
        ({"prompt_token_ids": ["a"]}, {}, "must be a list of integers"),
        ({"text": "a"}, {}, "a prompt must be text"),
        ([5, "a"], {}, "must be a list of integers"),
        ([], {}, "the decoder prompt cannot be empty"),
        ({"prompt_token_ids": [5] * 256}, {}, "context length is 256 tokens .max_model_len., but the prompt has 256"),
        ("a", {"logprobs": 21}, "logprobs=21 is not accepted: max_logprobs is 20"),
        ("a", {"logit_bias": {400: 1.0}}, "logit_bias holds 400"),
        ("a", {"stop_token_ids": [400]}, "stop_token_ids holds 400"),
        ("a", {"bad_words": ["x", " "]}, r"bad_words=\[' '\] is not accepted: it has no tokens"),
        ([5, 6], {"max_tokens": None, "min_tokens": 255}, "min_tokens=255 .*: the prompt leaves 25. tokens"),
    ],
)
def test_refused_requests(llm, prompt, params, expected):
    with pytest.raises(VLLMValidationError, match=expected):
        llm.generate(["fine", prompt], SamplingParams(**params), use_tqdm=False)
    assert not llm.llm_engine.has_unfinished_requests()


def test_refused_calls(llm):
    with pytest.raises(VLLMValidationError, match="2 prompts but 1 sampling_params"):
        llm.generate(["a", "b"], [SamplingParams()])
    for wrong, said in (
        ([], "2 prompts but 0 priorities"),
        ([1], "but 1 priorities"),
        (["a", 1], "priority='a'"),
        (10**30, "64-bit"),
        (0.5, "priority=0.5 is not accepted"),
    ):
        with pytest.raises(VLLMValidationError, match=said):
            llm.generate(["a", "b"], priority=wrong)
    for name in ("embed", "apply_model", "enqueue"):
        with pytest.raises(NotOfferedError, match=rf"LLM\.{name} is not offered"):
            getattr(llm, name)("a")
    with pytest.raises(NotOfferedError, match="lora_request"):
        llm.generate("a", lora_request=object())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"prompts": 5}, "prompts=5 is not accepted: give a prompt or a list of prompts"),
        ({"prompts": ["a", None]}, "a prompt must be text, .* not NoneType"),
        (
            {"prompts": "a", "sampling_params": 0.5},
            "sampling_params=0.5 is not accepted: give SamplingParams or a list",
        ),
        ({"prompts": "a", "sampling_params": ["x"]}, "sampling_params='x' is not accepted"),
        ({"messages": "a"}, "messages='a' is not accepted: give a conversation"),
        ({"messages": ["a"]}, "messages='a' is not accepted"),
        ({"messages": [{"role": "user", "content": 5}]}, "content of type 'int' is not accepted"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "content of type 'text' is not accepted"),
        ({"messages": [], "chat_template_content_format": "x"}, "chat_template_content_format='x' is not accepted"),
        ({"messages": [], "chat_template": 5}, "chat_template=5 is not accepted: give text"),
        ({"messages": [], "chat_template_kwargs": {1: 2}}, "chat_template_kwargs={1: 2} is not accepted"),
    ],
)
def test_arguments_of_wrong_types(llm, arguments, said):
    with pytest.raises(VLLMValidationError, match=said):
        (llm.chat if "messages" in arguments else llm.generate)(**arguments, use_tqdm=False)


def test_refused_arguments(folder):
    with pytest.raises(VLLMValidationError, match="'max_num_seq': did you mean max_num_seqs"):
        LLM(str(folder), max_num_seq=3)
    with pytest.raises(NotOfferedError, match="pipeline_parallel_size=2 is not offered yet: give 1"):
        LLM(str(folder), pipeline_parallel_size=2)
    with pytest.raises(VLLMValidationError, match=r"max_model_len=4096 is not accepted: .* at most 512"):
        LLM(str(folder), max_model_len=4096)
