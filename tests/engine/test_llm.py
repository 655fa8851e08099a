"""The LLM class end to end on a tiny model: stops, n, logprobs, processors."""

import shutil
from unittest import mock

import pytest
import tokenizers

from support.models import VOCAB_SIZE, mixed_prompts, reference_logprobs, save_model, save_tokenizer
from vllm import LLM, SamplingParams
from vllm.exceptions import PromptTooLongError, VLLMValidationError
from vllm.logprobs import FlatLogprobs
from vllm.v1.metrics.reader import Counter, Gauge, Histogram

PROMPT = {"prompt_token_ids": mixed_prompts(1, 20, seed=4)[0] * 9}
BYTES = list(range(4, 260))  # ids that the tokenizer has text for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    save_tokenizer(folder, "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    return folder


@pytest.fixture(scope="module")
def llm(folder):
    return LLM(str(folder), dtype="float32", max_model_len=256, block_size=8)


def ask(llm, prompt=PROMPT, **params):
    params = {"temperature": 0, "max_tokens": 24, "ignore_eos": True, **params}
    return llm.generate(prompt, SamplingParams(**params), use_tqdm=False)[0]


def tokens(llm, prompt=PROMPT, **params):
    return ask(llm, prompt, **params).outputs[0].token_ids


def test_text_is_the_tokens_text(llm):
    output = ask(llm, allowed_token_ids=BYTES).outputs[0]
    assert output.text == llm.get_tokenizer().decode(output.token_ids)
    assert (len(output.token_ids), output.finish_reason, output.stop_reason) == (24, "length", None)


def test_outputs_keep_the_order_of_prompts(llm):
    prompts = mixed_prompts(9, 30, seed=2)
    outputs = llm.generate(
        [{"prompt_token_ids": p} for p in prompts],
        [SamplingParams(temperature=0, max_tokens=1 + i % 4, ignore_eos=True) for i in range(9)],
        use_tqdm=False,
    )
    assert [o.prompt_token_ids for o in outputs] == prompts
    assert [len(o.outputs[0].token_ids) for o in outputs] == [1 + i % 4 for i in range(9)]
    assert all(o.finished and o.metrics.finished_time >= o.metrics.first_token_time for o in outputs)


def test_token_ids_are_prompts(llm):
    ids = PROMPT["prompt_token_ids"]
    expected = tokens(llm)
    assert tokens(llm, ids) == expected
    outputs = llm.generate([ids, [7, 8], "text"], SamplingParams(temperature=0, max_tokens=2), use_tqdm=False)
    assert [o.prompt_token_ids for o in outputs[:2]] == [ids, [7, 8]]
    assert [o.prompt for o in outputs] == [None, None, "text"]


@pytest.mark.parametrize("included", [True, False])
def test_stop_string(llm, included):
    ascii_ids = llm.get_tokenizer().encode("abcdefghijklmnopqrstuvwxyz")
    whole = ask(llm, allowed_token_ids=ascii_ids).outputs[0].text
    stop = whole[5:8]
    at = whole.index(stop)
    output = ask(llm, allowed_token_ids=ascii_ids, stop=["never there", stop], include_stop_str_in_output=included)
    assert output.outputs[0].text == whole[: at + 3 if included else at]
    assert (output.outputs[0].finish_reason, output.outputs[0].stop_reason) == ("stop", stop)
    assert len(output.outputs[0].token_ids) == at + 3


def test_stop_token(llm):
    plain = tokens(llm)
    stop = plain[3]
    output = ask(llm, stop_token_ids=[stop]).outputs[0]
    assert output.token_ids == plain[: plain.index(stop) + 1]
    assert (output.finish_reason, output.stop_reason) == ("stop", stop)


def test_end_of_sequence_token_and_min_tokens(llm):
    force = {"logit_bias": {2: 100.0}, "ignore_eos": False}
    output = ask(llm, **force).outputs[0]
    assert (output.token_ids, output.finish_reason, output.stop_reason, output.text) == ([2], "stop", None, "")
    later = ask(llm, min_tokens=5, **force).outputs[0].token_ids
    assert len(later) == 6 and later[-1] == 2 and 2 not in later[:5]
    assert ask(llm, **{**force, "ignore_eos": True}).outputs[0].token_ids == [2] * 24


def test_several_answers(llm):
    output = ask(llm, n=3, temperature=1.0, seed=5)
    assert [o.index for o in output.outputs] == [0, 1, 2] and output.finished
    assert len({tuple(o.token_ids) for o in output.outputs}) == 3
    assert [o.token_ids for o in ask(llm, n=3, temperature=1.0, seed=5).outputs] == [
        o.token_ids for o in output.outputs
    ]


def test_numbers_may_be_integers(llm):
    for temperature in (1, 2):
        drawn = {"seed": 5, "max_tokens": 4, "top_p": 1}
        expected = tokens(llm, temperature=float(temperature), **drawn)
        assert tokens(llm, temperature=temperature, **drawn) == expected


def test_seed_decides_alone(llm):
    """Not the batch, not what ran before."""
    alone = tokens(llm, temperature=1.0, seed=11)
    prompts = [{"prompt_token_ids": p} for p in mixed_prompts(7, 40)]
    params = SamplingParams(temperature=1.0, seed=11, max_tokens=24, ignore_eos=True)
    batch = llm.generate([*prompts, PROMPT], params, use_tqdm=False)
    assert batch[-1].outputs[0].token_ids == alone
    assert tokens(llm, temperature=1.0, seed=12) != alone


def test_greedy_and_random_rows_in_one_batch(llm):
    greedy = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
    random = SamplingParams(temperature=1.0, seed=3, top_k=20, top_p=0.9, min_p=0.01, max_tokens=24, ignore_eos=True)
    both = llm.generate([PROMPT, PROMPT], [greedy, random], use_tqdm=False)
    assert both[0].outputs[0].token_ids == tokens(llm)
    assert both[1].outputs[0].token_ids != tokens(llm)


def test_top_k_1_is_greedy(llm):
    assert tokens(llm, temperature=1.5, top_k=1, seed=1) == tokens(llm)


def test_allowed_and_forbidden_tokens(llm):
    allowed = [10, 20, 30]
    assert set(tokens(llm, allowed_token_ids=allowed)) <= set(allowed)
    banned = tokens(llm)[0]
    assert banned not in tokens(llm, logit_bias={banned: -100})


def test_bad_words(llm):
    tokenizer = llm.get_tokenizer()
    ascii_ids = tokenizer.encode("abcdefgh")
    whole = ask(llm, allowed_token_ids=ascii_ids).outputs[0].text
    word = whole[2:4]
    assert word not in ask(llm, allowed_token_ids=ascii_ids, bad_words=[word]).outputs[0].text


def test_bad_words_of_tokens_that_the_model_does_not_have(folder, tmp_path):
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"<extra {i}>" for i in range(VOCAB_SIZE)])
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    word = f"<extra {VOCAB_SIZE - 1}>"
    assert len(tokens(LLM(str(tmp_path), max_model_len=256), bad_words=[word])) == 24


def test_penalties_discourage_repetition(llm):
    def repeats(**params):
        made = tokens(llm, **params)
        return len(made) - len(set(made))

    assert repeats(frequency_penalty=2.0, presence_penalty=2.0) < repeats(temperature=0, allowed_token_ids=BYTES[:8])
    assert tokens(llm, repetition_penalty=1e5)[0] not in PROMPT["prompt_token_ids"]


def test_logprobs_are_transformers(llm, folder):
    output = ask(llm, max_tokens=6, logprobs=4, prompt_logprobs=3)
    made = output.outputs[0]
    prompt = output.prompt_token_ids
    reference = reference_logprobs(folder, prompt + made.token_ids)
    entries = [
        *zip(prompt[1:], output.prompt_logprobs[1:], strict=True),
        *zip(made.token_ids, made.logprobs, strict=True),
    ]
    assert output.prompt_logprobs[0] is None and len(output.prompt_logprobs) == len(prompt)
    for row, (token, entry) in enumerate(entries):
        expected = reference[row]
        assert entry[token].logprob == pytest.approx(expected[token].item(), abs=1e-4)
        assert entry[token].rank == int((expected > expected[token]).sum()) + 1
        best = {i: e for i, e in entry.items() if e.rank <= (3 if row < len(prompt) - 1 else 4)}
        assert set(best) == set(expected.topk(len(best)).indices.tolist())
    assert made.cumulative_logprob == pytest.approx(
        sum(e[t].logprob for t, e in zip(made.token_ids, made.logprobs, strict=True))
    )


def test_flat_logprobs(llm):
    plain, flat = (ask(llm, max_tokens=3, logprobs=2, prompt_logprobs=1, flat_logprobs=f) for f in (False, True))
    assert isinstance(flat.outputs[0].logprobs, FlatLogprobs) and isinstance(flat.prompt_logprobs, FlatLogprobs)
    assert list(flat.outputs[0].logprobs) == plain.outputs[0].logprobs
    assert list(flat.prompt_logprobs[1:]) == plain.prompt_logprobs[1:]


def test_logits_in_place_of_log_probabilities(llm, folder):
    other = LLM(str(folder), dtype="float32", max_model_len=256, block_size=8, logprobs_mode="raw_logits")
    logprobs, logits = (ask(each, max_tokens=1, logprobs=2, prompt_logprobs=2) for each in (llm, other))
    pairs = [*zip(logprobs.prompt_logprobs[1:], logits.prompt_logprobs[1:], strict=True)]
    for mine, others in [*pairs, (logprobs.outputs[0].logprobs[0], logits.outputs[0].logprobs[0])]:
        assert list(mine) == list(others)
        shifts = [others[token].logprob - mine[token].logprob for token in mine]
        assert shifts == pytest.approx([shifts[0]] * len(shifts), abs=1e-4) and abs(shifts[0]) > 0.1


def test_prompt_logprobs_do_not_depend_on_chunks_or_cache(llm, folder):
    chunked = LLM(
        str(folder), dtype="float32", max_model_len=256, block_size=8, max_num_batched_tokens=16, max_num_seqs=4
    )
    whole = ask(llm, prompt_logprobs=2).prompt_logprobs
    for each in (ask(llm, prompt_logprobs=2), ask(chunked, prompt_logprobs=2)):
        assert len(each.prompt_logprobs) == len(whole)
        for mine, other in zip(each.prompt_logprobs[1:], whole[1:], strict=True):
            assert {t: e.rank for t, e in mine.items()} == {t: e.rank for t, e in other.items()}


def test_more_logprobs_than_the_vocabulary_has(folder):
    llm = LLM(str(folder), max_model_len=256, max_logprobs=-1)
    output = ask(llm, logprobs=10 * VOCAB_SIZE, prompt_logprobs=10 * VOCAB_SIZE, max_tokens=1)
    assert len(output.outputs[0].logprobs[0]) == len(output.prompt_logprobs[1]) == VOCAB_SIZE


def test_max_tokens_none_goes_up_to_max_model_len(llm):
    output = ask(llm, max_tokens=None)
    assert len(output.prompt_token_ids) + len(output.outputs[0].token_ids) == 256
    assert output.outputs[0].finish_reason == "length"


def test_chat(llm):
    messages = [{"role": "user", "content": [{"type": "text", "text": "ab"}, {"type": "text", "text": "c"}]}]
    params = SamplingParams(temperature=0, max_tokens=3, ignore_eos=True)
    output = llm.chat(messages, params, use_tqdm=False)[0]
    assert output.prompt == "ab\nc"
    assert len(llm.chat([messages, messages], params, use_tqdm=False)) == 2
    by_part = "{% for m in messages %}{% for part in m['content'] %}<{{ part['text'] }}>{% endfor %}{% endfor %}"
    parts = {"chat_template": by_part, "chat_template_content_format": "openai"}
    texts = [{"role": "user", "content": "x"}, *messages]
    assert llm.chat(texts, params, use_tqdm=False, **parts)[0].prompt == "<x><ab><c>"
    with pytest.raises(VLLMValidationError, match="'image_url' is not accepted"):
        llm.chat([{"role": "user", "content": [{"type": "image_url"}]}], params)


@pytest.mark.parametrize(("blocks", "longest"), [(4, 128), (1000, 512)])
def test_max_model_len_of_what_fits(folder, blocks, longest):
    llm = LLM(str(folder), dtype="float32", max_model_len=-1, num_gpu_blocks_override=blocks, block_size=32)
    assert llm.model_config.max_model_len == longest
    assert len(tokens(llm, [5] * (longest - 2), max_tokens=None)) == 2
    with pytest.raises(PromptTooLongError, match=f"{longest} tokens .max_model_len.*Please reduce the length"):
        llm.generate([5] * longest, use_tqdm=False)


def test_priorities(folder):
    llm = LLM(str(folder), dtype="float32", max_model_len=64, scheduling_policy="priority")
    params = SamplingParams(temperature=0, max_tokens=3)
    alone = llm.generate("a", params, use_tqdm=False, priority=1)[0].outputs[0].token_ids
    both = llm.generate(["a", "a"], params, use_tqdm=False, priority=[2, 0])
    assert [o.outputs[0].token_ids for o in both] == [alone, alone]
    conversations = [[{"role": "user", "content": text}] for text in ("a", "b")]
    assert len(llm.chat(conversations, params, use_tqdm=False, priority=[1, 0])) == 2
    with pytest.raises(VLLMValidationError, match="2 prompts but 1 priorities"):
        llm.chat(conversations, params, priority=[0])


def test_progress_bars_of_ones_own(llm):
    bar = mock.Mock()
    llm.generate(["a", "b"], SamplingParams(max_tokens=1), use_tqdm=bar)
    assert bar.call_args.kwargs["total"] == 2 and bar.return_value.update.call_count == 2


def test_prompt_larger_than_the_cache(folder):
    llm = LLM(str(folder), dtype="float32", block_size=8, num_gpu_blocks_override=4)
    with pytest.raises(PromptTooLongError, match=r"is 32 tokens \(the KV cache's size\)"):
        llm.generate({"prompt_token_ids": [5] * 40}, use_tqdm=False)
    assert len(llm.generate({"prompt_token_ids": [5] * 20}, use_tqdm=False)[0].outputs[0].token_ids) > 0


def test_without_tokenizer(folder):
    llm = LLM(str(folder), dtype="float32", max_model_len=64, skip_tokenizer_init=True)
    output = ask(llm, {"prompt_token_ids": [5, 6]}, detokenize=False).outputs[0]
    assert output.text == "" and len(output.token_ids) == 24
    with pytest.raises(
        VLLMValidationError, match="`skip_tokenizer_init=True` leaves no tokenizer: give prompt_token_ids"
    ):
        llm.generate("text", use_tqdm=False)


def test_without_text_no_token_is_decoded(llm):
    output = ask(llm, detokenize=False, logprobs=2, prompt_logprobs=1)
    assert output.outputs[0].text == ""
    decoded = [entry for each in output.prompt_logprobs[1:] + output.outputs[0].logprobs for entry in each.values()]
    assert all(entry.decoded_token is None for entry in decoded)


def test_what_programs_ask_an_engine_for(llm):
    engine = llm.llm_engine
    assert engine.vllm_config.model_config is engine.model_config is llm.model_config
    assert engine.get_tokenizer() is llm.get_tokenizer()
    assert engine.cache_config.block_size > 0
    engine.add_request("a", "x", SamplingParams(max_tokens=2))
    assert engine.get_num_unfinished_requests() == 1
    while engine.has_unfinished_requests():
        engine.step()
    assert engine.get_num_unfinished_requests() == 0


def test_metrics(folder):
    llm = LLM(str(folder), dtype="float32", max_model_len=256, served_model_name="name")
    params = SamplingParams(n=2, max_tokens=7, ignore_eos=True)
    llm.generate([[5, 6, 7], [8, 9]], params, use_tqdm=False)
    metrics = llm.get_metrics()
    assert all(m.labels["model_name"] == "name" and m.name.startswith("vllm:") for m in metrics)
    values = {m.name: m.value for m in metrics if isinstance(m, Counter | Gauge) and "finished_reason" not in m.labels}
    assert values["vllm:generation_tokens"] == 2 * 2 * 7
    assert values["vllm:prompt_tokens"] == 2 * (3 + 2)
    assert (values["vllm:num_requests_running"], values["vllm:kv_cache_usage_perc"]) == (0, 0.0)
    finished = {m.labels["finished_reason"]: m.value for m in metrics if m.name == "vllm:request_success"}
    assert finished == {"stop": 0, "length": 4, "abort": 0, "error": 0}
    (made,) = (m for m in metrics if m.name == "vllm:request_generation_tokens")
    assert isinstance(made, Histogram) and (made.count, made.sum) == (4, 28)
    assert (made.buckets["5.0"], made.buckets["10.0"], made.buckets["+Inf"]) == (0, 4, 4)


def test_default_sampling_params(folder):
    assert LLM(str(folder), load_format="dummy").get_default_sampling_params() == SamplingParams()
    overridden = LLM(str(folder), load_format="dummy", override_generation_config={"temperature": 0.5, "top_k": 7})
    assert overridden.get_default_sampling_params() == SamplingParams(temperature=0.5, top_k=7)
