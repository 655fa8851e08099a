"""Prompts of the benchmarks."""

import argparse
import json
from pathlib import Path

import pytest

from vllm.entrypoints.cli.bench.samples import add_dataset_flags, check_dataset_flags, make_samples
from vllm.entrypoints.cli.registry import UsageError

POOL = range(100, 200)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_dataset_flags(parser)
    return parser.parse_args(words)


def test_random_prompts_have_the_lengths_asked_for() -> None:
    args = parse(
        "--num-prompts", "20", "--random-input-len", "30", "--random-output-len", "7", "--random-prefix-len", "5"
    )
    samples = make_samples(args, POOL, len, seed=1)
    assert [len(s.prompt) for s in samples] == [35] * 20
    assert {s.output_len for s in samples} == {7}
    assert len({tuple(s.prompt[:5]) for s in samples}) == 1
    assert len({tuple(s.prompt) for s in samples}) == 20
    assert all(token in POOL for s in samples for token in s.prompt)
    assert samples == make_samples(args, POOL, len, seed=1)
    assert samples != make_samples(args, POOL, len, seed=2)


def test_lengths_have_short_names() -> None:
    args = parse("--num-prompts", "2", "--input-len", "30", "--output-len", "7", "--prefix-len", "5")
    check_dataset_flags(args)
    assert [(len(s.prompt), s.output_len) for s in make_samples(args, POOL, len, seed=1)] == [(35, 7)] * 2
    assert args.sharegpt_output_len == 7


def test_a_range_ratio_varies_lengths_within_bounds() -> None:
    args = parse("--num-prompts", "200", "--random-input-len", "10", "--random-range-ratio", "0.5")
    lengths = {len(s.prompt) for s in make_samples(args, POOL, len, seed=1)}
    assert lengths == set(range(5, 16))


def conversations(*turns: list[str]) -> str:
    return json.dumps([{"conversations": [{"from": "x", "value": text} for text in texts]} for texts in turns])


def test_sharegpt_takes_first_exchanges_that_fit(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    path.write_text(
        conversations(
            ["question one", "answer one", "more"], ["alone"], ["q", "too short a question"], ["x" * 2000, "long"]
        )
    )
    args = parse("--dataset-name", "sharegpt", "--dataset-path", str(path), "--num-prompts", "1")
    (sample,) = make_samples(args, POOL, len, seed=0)
    assert (sample.prompt, sample.output_len) == ("question one", len("answer one"))


def test_too_few_conversations_are_said(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    path.write_text(conversations(["question one", "answer one"]))
    args = parse("--dataset-name", "sharegpt", "--dataset-path", str(path), "--num-prompts", "3")
    with pytest.raises(UsageError, match="has 1 usable conversations: lower --num-prompts from 3"):
        make_samples(args, POOL, len, seed=0)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"conversations": [{"text": "a"}, {"text": "b"}]}]'])
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "chats.json"
    path.write_text(content)
    args = parse("--dataset-name", "sharegpt", "--dataset-path", str(path))
    with pytest.raises(UsageError, match=r"chats\.json"):
        make_samples(args, POOL, len, seed=0)


@pytest.mark.parametrize("words", [("--dataset-name", "sharegpt"), ("--dataset-path", "x.json")])
def test_dataset_flags_that_do_not_fit(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="go together"):
        check_dataset_flags(parse(*words))
