"""Log probabilities as users read them: the text of each token, and the flat form of the list."""

import pytest

from support.models import save_tokenizer
from vllm.engine.logprobs import append_decoded, decode_prompt_logprobs
from vllm.logprobs import FlatLogprobs, Logprob, append_logprobs_for_next_position, create_sample_logprobs
from vllm.messages import TokenLogprobs
from vllm.tokenizer import Tokenizer

TEXT = "a “é”😀b"
FIRST = {1: Logprob(-0.1, 10, "one")}
SECOND = {2: Logprob(-0.2, 4, "two"), 3: Logprob(-0.3, 1, None)}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Each byte is a token."""
    folder = tmp_path_factory.mktemp("bytes")
    save_tokenizer(folder)
    return Tokenizer(folder)


@pytest.fixture
def flat():
    logprobs = FlatLogprobs()
    logprobs.extend([SECOND, None, FIRST])
    return logprobs


def test_a_character_is_its_last_tokens_text(tokenizer):
    ids = tokenizer.encode(TEXT)
    logprobs = create_sample_logprobs(False)
    for position, token in enumerate(ids):
        append_decoded(logprobs, TokenLogprobs([token], [-1.0], 1), tokenizer, ids[:position])
    texts = [entry[token].decoded_token for token, entry in zip(ids, logprobs, strict=True)]
    assert "".join(texts) == TEXT
    assert texts[:5] == ["a", " ", "", "", "“"] and texts[-5:-1] == ["", "", "", "😀"]


def test_other_tokens_are_read_in_the_same_place(tokenizer):
    ids = tokenizer.encode("é")
    other = tokenizer.encode("ü")[1]
    logprobs = create_sample_logprobs(False)
    append_decoded(logprobs, TokenLogprobs([ids[1], other], [-1.0, -2.0], 1), tokenizer, ids[:1])
    assert [each.decoded_token for each in logprobs[0].values()] == ["é", "ü"]


def test_prompts_begin_without_an_entry(tokenizer):
    ids = tokenizer.encode("aé")
    entries = [None, *(TokenLogprobs([token], [-1.0], 2) for token in ids[1:])]
    plain, flat = (decode_prompt_logprobs(entries, tokenizer, ids, is_flat) for is_flat in (False, True))
    assert plain[0] is None and flat[0] == {}
    assert list(flat[1:]) == plain[1:] == [{ids[1]: Logprob(-1.0, 2, "")}, {ids[2]: Logprob(-1.0, 2, "é")}]


def test_flat_is_a_list_of_positions(flat):
    assert len(flat) == 3 and list(flat) == [SECOND, {}, FIRST]
    assert flat[0] == SECOND and flat[-1] == FIRST
    assert (flat.start_indices, flat.end_indices) == ([0, 2, 2], [2, 2, 3])
    assert (flat.token_ids, flat.logprobs) == ([2, 3, 1], [-0.2, -0.3, -0.1])
    assert (flat.ranks, flat.decoded_tokens) == ([4, 1, 10], ["two", None, "one"])


def test_flat_slices_are_flat(flat):
    end = flat[-2:]
    assert (end.start_indices, end.end_indices, end.token_ids) == ([0, 0], [0, 1], [1])
    assert flat[:] == flat and flat[5:] == FlatLogprobs()
    assert list(flat[::-2]) == [FIRST, SECOND]


def test_flat_grows_at_its_end_only(flat):
    for change in (lambda: flat.insert(0, FIRST), lambda: flat.__setitem__(0, FIRST), flat.pop):
        with pytest.raises(TypeError, match="at their end only"):
            change()


@pytest.mark.parametrize("is_flat", [False, True])
def test_ranks_and_how_many(is_flat):
    logprobs = create_sample_logprobs(is_flat)
    append_logprobs_for_next_position(logprobs, [7, 8, 7], [-0.5, -0.4, -0.5], ["g", "h", "g"], 2, -1)
    append_logprobs_for_next_position(logprobs, [7, 8, 9], [-0.5, -0.4, -0.6], ["g", "h", "i"], 3, 1)
    assert list(logprobs) == [
        {7: Logprob(-0.5, 2, "g"), 8: Logprob(-0.4, 1, "h")},
        {7: Logprob(-0.5, 3, "g"), 8: Logprob(-0.4, 1, "h")},
    ]
