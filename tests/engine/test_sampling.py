"""What is drawn follows the distribution that the parameters ask for."""

import typing

import numpy as np
import pytest
import torch

from vllm import SamplingParams
from vllm.config import LogprobsMode
from vllm.kernels.op_set import native_ops
from vllm.messages import EngineRequest
from vllm.sampling.sampler import Sampler
from vllm.sampling.uniform import uniform
from vllm.scheduler.request import Request

DRAWS = 20_000


def request(prompt=(3,), output=(), **params):
    made = Request(EngineRequest("r", list(prompt), SamplingParams(**params), [2], 0.0), 0, 4096)
    made.token_ids.extend(output)
    return made


def frequencies(logits, **params):
    """Shares of each token in many draws, seeds 0, 1, 2, ..."""
    requests = [request(**params, seed=seed) for seed in range(DRAWS)]
    tokens, _ = Sampler(native_ops()).sample(logits.repeat(DRAWS, 1), requests)
    return torch.bincount(torch.tensor(tokens), minlength=logits.numel()).double() / DRAWS


def assert_distribution(found, expected):
    """Pearson's chi-squared with a bound that a right sampler exceeds once in a million."""
    possible = expected > 0
    assert found[~possible].sum() == 0
    statistic = (DRAWS * (found - expected)[possible] ** 2 / expected[possible]).sum().item()
    freedom = int(possible.sum()) - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 25


@pytest.fixture
def logits():
    return torch.randn(24, generator=torch.Generator().manual_seed(1)) * 2


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.7])
def test_temperature(logits, temperature):
    expected = torch.softmax(logits.double() / temperature, 0)
    assert_distribution(frequencies(logits, temperature=temperature), expected)


def test_top_k(logits):
    expected = torch.softmax(logits.double(), 0)
    expected[logits < logits.topk(5).values[-1]] = 0
    assert_distribution(frequencies(logits, top_k=5), expected / expected.sum())


def test_top_p(logits):
    probabilities = torch.softmax(logits.double(), 0)
    ordered, ids = probabilities.sort(descending=True)
    kept = ids[ordered.cumsum(0) - ordered < 0.8]
    expected = torch.zeros_like(probabilities)
    expected[kept] = probabilities[kept]
    assert_distribution(frequencies(logits, top_p=0.8), expected / expected.sum())


def test_min_p(logits):
    expected = torch.softmax(logits.double(), 0)
    expected[expected < 0.1 * expected.max()] = 0
    assert_distribution(frequencies(logits, min_p=0.1), expected / expected.sum())


def test_penalties_are_vllms(logits):
    params = {"repetition_penalty": 1.5, "frequency_penalty": 0.5, "presence_penalty": 0.25, "temperature": 0}
    row = logits.clone().unsqueeze(0)
    Sampler(native_ops()).sample(row, [request(prompt=[4, 5], output=[5, 6, 6], **params)])
    expected = logits.clone()
    for token in (4, 5, 6):
        expected[token] = expected[token] / 1.5 if expected[token] > 0 else expected[token] * 1.5
    expected[5] -= 0.5 * 1 + 0.25
    expected[6] -= 0.5 * 2 + 0.25
    torch.testing.assert_close(row[0], expected)


def test_logprobs_are_the_models_own(logits):
    """Before penalties and temperature."""
    tokens, logprobs = Sampler(native_ops()).sample(
        logits.repeat(2, 1), [request(temperature=0.3, seed=1, logit_bias={4: 50.0}, logprobs=2), request(seed=2)]
    )
    expected = torch.log_softmax(logits, 0)
    assert tokens[0] == 4 and set(logprobs) == {0}
    assert logprobs[0].token_ids == [4, *expected.topk(2).indices.tolist()]
    assert logprobs[0].logprobs == pytest.approx(expected[logprobs[0].token_ids].tolist(), abs=1e-5)
    assert logprobs[0].rank == int((expected > expected[4]).sum()) + 1


def test_logprobs_in_other_modes(logits):
    params = {"temperature": 0.5, "seed": 1, "logit_bias": {4: -1.0}, "top_k": 3, "logprobs": 4}
    found = {}
    for mode in typing.get_args(LogprobsMode):
        rows = logits.repeat(2, 1)
        _, logprobs = Sampler(native_ops(), mode).sample(rows, [request(**params), request(temperature=0, logprobs=4)])
        found[mode] = [dict(zip(each.token_ids, each.logprobs, strict=True)) for each in logprobs.values()]
    biased = logits.clone()
    biased[4] -= 1.0
    biased /= 0.5
    biased[biased < biased.topk(3).values[-1]] = -torch.inf
    for mode, expected in (("raw_logits", logits), ("processed_logits", biased)):
        normalized = mode.replace("logits", "logprobs")
        for values, name in ((expected, mode), (expected.log_softmax(0), normalized)):
            drawn, greedy = found[name]
            assert drawn == pytest.approx({token: values[token].item() for token in drawn}, abs=1e-5)
            plain = logits if name.endswith("logits") else logits.log_softmax(0)
            assert greedy == pytest.approx({token: plain[token].item() for token in greedy}, abs=1e-5)


def test_uniform_is_uniform_and_repeatable():
    seeds = np.arange(50_000, dtype=np.uint64) % 50
    counters = np.arange(50_000, dtype=np.uint64) // 50
    values = uniform(seeds, counters)
    assert values.dtype == np.float32 and values.min() >= 0 and values.max() < 1
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    assert ((counts - 2500) ** 2 / 2500).sum() < 19 + 5 * np.sqrt(38) + 25
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.03
    np.testing.assert_array_equal(values[::-1], uniform(seeds[::-1], counters[::-1]))
