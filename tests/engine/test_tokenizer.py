"""Tokenizer and incremental detokenization, on a byte-level tokenizer made here."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, processors

from support.conversations import HELLO, TEMPLATE
from support.models import save_tokenizer
from vllm.detokenizer import IncrementalDetokenizer
from vllm.exceptions import ModelError, NotOfferedError, VLLMValidationError
from vllm.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, TEMPLATE)
    return Tokenizer(folder)


def test_round_trip_and_specials(tokenizer):
    ids = tokenizer.encode("héllo 世界")
    assert tokenizer.decode(ids) == "héllo 世界"
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    assert tokenizer.decode([1, *ids, 2], skip_special_tokens=True) == "héllo 世界"
    assert tokenizer.all_special_ids == [0, 1, 2, 3]
    assert len(tokenizer) == 260
    assert tokenizer.encode_batch(["a", "b"]) == [tokenizer.encode("a"), tokenizer.encode("b")]


def with_processor(folder, single):
    """A tokenizer's folder whose special tokens are these, with the text at $A."""
    save_tokenizer(folder)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)])
    backend.save(str(folder / "tokenizer.json"))
    return folder


def test_programs_set_the_template(tmp_path):
    save_tokenizer(tmp_path)
    tokenizer = Tokenizer(tmp_path)
    tokenizer.chat_template = "{{ messages[0].content }}!"
    assert tokenizer.apply_chat_template(HELLO, tokenize=False) == "hello!"
    tokenizer.chat_template = None
    assert tokenizer.chat_template is None
    with pytest.raises(VLLMValidationError, match="no chat template"):
        tokenizer.apply_chat_template(HELLO)


@pytest.mark.parametrize("single", ["$A", "<s> $A"])
def test_programs_say_whether_a_text_begins_with_its_token(tmp_path, single):
    folder = with_processor(tmp_path, single)
    plain = Tokenizer(folder).encode("a b", add_special_tokens=False)
    for wanted, expected in ((True, [1, *plain]), (False, plain), (None, [1, *plain] if "<s>" in single else plain)):
        tokenizer = Tokenizer(folder, add_bos_token=wanted)
        assert tokenizer.encode("a b") == tokenizer(["a b"]).input_ids[0] == expected
        assert tokenizer.encode("a b", add_special_tokens=False) == plain


def test_other_special_tokens_are_not_lost(tmp_path):
    folder = with_processor(tmp_path, "<s> $A </s>")
    assert Tokenizer(folder, add_bos_token=True).encode("")[-1] == 2
    with pytest.raises(
        NotOfferedError, match=r"^the tokenizer's add_bos_token=False is not offered, it also adds </s>"
    ):
        Tokenizer(folder, add_bos_token=False)


@pytest.fixture(scope="module")
def known(tokenizer):
    """The same as transformers has it."""
    return transformers.AutoTokenizer.from_pretrained(tokenizer.name_or_path)


def test_calls_are_those_of_transformers(tokenizer, known):
    for text in ("héllo", ["a", "bcd"], [""]):
        for options in ({}, NOTHING, {"return_attention_mask": False}, {"return_attention_mask": True}):
            assert tokenizer(text, **options) == dict(known(text, **options))
    made = tokenizer("a")
    assert (made.input_ids, made.attention_mask) == (made["input_ids"], made["attention_mask"])
    ids = known(["a", "b</s>"])["input_ids"]
    for skip in (False, True):
        made = tokenizer.batch_decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
        assert made == known.batch_decode(ids, skip_special_tokens=skip)
        assert tokenizer.convert_ids_to_tokens([1, 9, 2], skip) == known.convert_ids_to_tokens([1, 9, 2], skip)
    assert tokenizer.convert_ids_to_tokens(9) == known.convert_ids_to_tokens(9)
    assert tokenizer.tokenize("a </s>b") == known.tokenize("a </s>b")
    assert tokenizer.encode("a b", **NOTHING) == known.encode("a b", **NOTHING)
    for name in (
        "unk_token_id",
        "unk_token",
        "pad_token",
        "eos_token",
        "is_fast",
        "vocab_size",
        "name_or_path",
        "model_max_length",
    ):
        assert getattr(tokenizer, name) == getattr(known, name), name
    assert set(tokenizer.all_special_tokens) >= set(known.all_special_tokens)
    with pytest.raises(AttributeError, match="there is no 'token_type_ids', only input_ids, attention_mask"):
        _ = tokenizer("a").token_type_ids


# Options that ask for nothing.
NOTHING = {"truncation": None, "padding": False, "max_length": None, "return_tensors": None}


@pytest.mark.parametrize("conversation", [HELLO, [HELLO], [HELLO, HELLO * 2]])
@pytest.mark.parametrize(
    "options",
    [{"tokenize": False}, {"return_dict": False, **NOTHING}, {"return_dict": True, "add_generation_prompt": True}],
)
def test_conversations_are_those_of_transformers(tokenizer, known, conversation, options):
    assert tokenizer.apply_chat_template(conversation, **options) == known.apply_chat_template(conversation, **options)


@pytest.mark.parametrize(
    ("name", "value"), [("return_tensors", "pt"), ("truncation", True), ("padding", "longest"), ("max_length", 4)]
)
def test_what_tokenizing_may_not_be_asked_for_is_refused_by_name(tokenizer, name, value):
    for call in (tokenizer, tokenizer.encode, tokenizer.tokenize):
        with pytest.raises(NotOfferedError, match=f"^the tokenizer's {name}={value!r} is not offered: leave it out"):
            call("a", **{name: value})
    with pytest.raises(NotOfferedError, match=f"^the tokenizer's {name}={value!r} is not offered: leave it out"):
        tokenizer.apply_chat_template(HELLO, **{name: value})
    with pytest.raises(NotOfferedError, match="clean_up_tokenization_spaces=True is not offered"):
        tokenizer.decode([5], clean_up_tokenization_spaces=True)


def test_the_padding_token_can_be_chosen(tmp_path):
    save_tokenizer(tmp_path, "{{ pad_token }}")
    tokenizer = Tokenizer(tmp_path)
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer.pad_token_id == 2 and tokenizer.render_chat_template(HELLO) == "</s>"
    tokenizer.pad_token_id = 1
    assert tokenizer.pad_token == "<s>"
    tokenizer.pad_token = None
    assert tokenizer.pad_token_id is None


def test_ids_beyond_the_vocabulary_have_no_text(tokenizer):
    assert tokenizer.decode([5000]) == ""
    assert tokenizer.convert_ids_to_tokens([2, 5000]) == ["</s>", ""]


@pytest.fixture(scope="module")
def byte_fallback(tmp_path_factory):
    """As Llama 2's and Mistral's: words with "▁" for spaces, and bytes as tokens for what has none."""
    bytes_and_words = [f"<0x{byte:02X}>" for byte in range(256)] + list("▁abcdefghij")
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *bytes_and_words])}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(parts)
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    folder = tmp_path_factory.mktemp("byte_fallback")
    backend.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder)


def pieces_after(tokenizer, prompt, text) -> list[str]:
    prompt_ids = tokenizer.encode(prompt)
    detokenizer = IncrementalDetokenizer(tokenizer, prompt_ids, True)
    pieces = [detokenizer.append(token) for token in tokenizer.encode(prompt + text)[len(prompt_ids) :]]
    return [*pieces, detokenizer.flush()]


@settings(deadline=None)
@given(prompt=st.text(max_size=8), text=st.text(max_size=30))
@pytest.mark.parametrize("kind", ["tokenizer", "byte_fallback"])
def test_pieces_add_up_to_the_text(kind, request, prompt, text):
    """Each token is one byte, so most pieces end inside a character."""
    pieces = pieces_after(request.getfixturevalue(kind), prompt, text)
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) == text


@pytest.mark.parametrize("prompt", ["ጤና ይስጥልኝ\n", "မင်္ဂလာပါ\n", "a😀😀", "é" * 40, "ab\ufffd😀"])
@pytest.mark.parametrize("text", ["ሰላም ነው", "😀 a"])
def test_a_prompt_that_ends_in_bytes(byte_fallback, prompt, text):
    assert "".join(pieces_after(byte_fallback, prompt, text)) == text


def test_a_prompt_of_broken_bytes_does_not_break_the_text(byte_fallback):
    broken, newline = byte_fallback.convert_tokens_to_ids(["<0xFF>", "<0x0A>"])
    detokenizer = IncrementalDetokenizer(byte_fallback, [broken] * 9 + [newline], True)
    assert "".join(map(detokenizer.append, byte_fallback.encode("😀")[1:])) == "😀"


def test_bytes_that_are_no_character_come_out_at_the_end(tokenizer):
    detokenizer = IncrementalDetokenizer(tokenizer, [], True)
    first_byte_of_three = tokenizer.encode("世")[0]
    assert detokenizer.append(first_byte_of_three) == ""
    assert detokenizer.flush() == "\ufffd"


def test_endless_broken_bytes_do_not_pile_up(tokenizer):
    detokenizer = IncrementalDetokenizer(tokenizer, [], True)
    first_byte_of_three = tokenizer.encode("世")[0]
    pieces = [detokenizer.append(first_byte_of_three) for _ in range(100)]
    assert any(pieces) and set("".join(pieces)) == {"\ufffd"}


def test_missing_or_damaged_tokenizer(tmp_path):
    with pytest.raises(ModelError, match=r"tokenizer\.json does not exist"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json is damaged"):
        Tokenizer(tmp_path)


def test_other_threads_run_while_a_long_text_is_tokenized(tmp_path):
    """An event loop among them: /health must answer meanwhile."""
    save_tokenizer(tmp_path)
    tokenizer = Tokenizer(tmp_path)
    text = "a text of many words " * 30_000
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(tokenizer.encode, text)
        turns = 0
        while not found.done():
            time.sleep(0.001)
            turns += 1
        assert len(found.result()) == len(text)
    assert turns > 10
