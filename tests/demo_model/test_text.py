"""The text that the demo model learns from: sums are right, templates well-formed, the evaluation kept apart."""

import random
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.checkout import ROOT

TRAIN = ROOT / "recipes/vllm-demo-model/train"
SEED, EXAMPLES = 3, 3000


@pytest.fixture(scope="module", autouse=True)
def train_modules():
    """The training scripts import one another by plain names."""
    sys.path.insert(0, str(TRAIN))
    yield
    sys.path.remove(str(TRAIN))


@pytest.fixture(scope="module")
def corpus():
    from corpus import Corpus

    return Corpus()


@given(a=st.integers(0, 99), b=st.integers(0, 99), op=st.sampled_from("+-*"))
def test_every_step_of_a_sum_is_right(a: int, b: int, op: str) -> None:
    from arithmetic import solve

    text = solve(a, op, b)
    assert re.fullmatch(r"[\d +*=,so-]+\.", text)
    for equation in text.removesuffix(".").split(", so "):
        values = [eval(side) for side in equation.split("=")]
        assert len(values) > 1 and len(set(values)) == 1, text
    assert text.endswith(f"{a} {op} {b} = {eval(f'{a}{op}{b}')}.") or text.startswith(f"{a} {op} {b} = ")


def test_no_sum_of_the_evaluation_is_in_training() -> None:
    from arithmetic import exercise, held_out

    rng = random.Random(SEED)
    sums = [re.match(r"(\d+) ([+-]) (\d+) = ", exercise(rng)[1]) for _ in range(4 * EXAMPLES)]
    pairs = {(int(m[1]), m[2], int(m[3])) for m in sums if m}
    assert len(pairs) > EXAMPLES / 4
    assert not [pair for pair in pairs if held_out(*pair)]


def test_templates_expand_completely(corpus) -> None:
    rng = random.Random(SEED)
    for _ in range(EXAMPLES):
        text = corpus.example(rng).text
        assert not re.search(r"<(key|value|[a-z]+)>|\|\)|\(\|", text), text
        assert text.count("<|im_start|>") == text.count("<|im_end|>")


def test_every_table_row_has_question_and_answer(corpus) -> None:
    rng = random.Random(SEED)
    for intent in corpus.intents:
        for row in intent.table.items():
            for template in intent.ask:
                question = intent.question(template, row, rng)
                assert question and "<" not in question
            assert "<" not in intent.reply(row)


def test_unseen_wordings_stay_unseen(corpus) -> None:
    from corpus import normal

    rng = random.Random(SEED)
    asked = {normal(question) for _ in range(4 * EXAMPLES) for question, _ in corpus.turns(rng)}
    unseen = {normal(text) for intent in corpus.intents for text in intent.unseen_questions()}
    assert len(asked) > EXAMPLES and len(unseen) > 100
    assert not asked & unseen


def test_the_same_seed_gives_the_same_text(corpus) -> None:
    first, second = random.Random(SEED), random.Random(SEED)
    assert [corpus.example(first) for _ in range(50)] == [corpus.example(second) for _ in range(50)]
