"""vllm.flashinfer.sampling: filters against torch, tokens against integers, frequencies against probabilities."""

import pytest
import torch

from support.device_ops import Ops
from support.kernel_inputs import DTYPES, RTOL, randn
from vllm.flashinfer import library, sampling

SHAPES = [(3, 7), (2, 300), (2, 5000)]


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(library, "sampling_ops", lambda: Ops("_flashinfer_C"))


def probabilities(shape, dtype=torch.float32, seed=0):
    return randn(shape, torch.float32, seed, 2.0).softmax(-1).to(dtype)


def kept_by_top_k(values, k):
    return values >= values.topk(min(k, values.shape[-1])).values[..., -1:]


def kept_by_top_p(probs, p):
    """The likeliest whose running sum reaches p of the row's, and what equals the last of them."""
    ordered = probs.double().sort(descending=True).values
    before = ordered.cumsum(-1) - ordered
    last = (before < p * ordered.sum(-1, keepdim=True)).sum(-1, keepdim=True).clamp(min=1) - 1
    return probs >= ordered.gather(-1, last).to(probs.dtype)


def renormed(probs, kept):
    masked = torch.where(kept, probs.double(), 0)
    return masked / masked.sum(-1, keepdim=True)


def check_probs(actual, expected):
    torch.testing.assert_close(actual.double(), expected, rtol=max(RTOL[actual.dtype], 2e-6), atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(dtype, shape):
    logits = randn(shape, dtype, 0, 4.0)
    check_probs(sampling.softmax(logits), logits.double().softmax(-1))
    each = torch.linspace(0.3, 2, shape[0])
    check_probs(sampling.softmax(logits, each), (logits.double() / each[:, None].double()).softmax(-1))


def test_softmax_at_its_ends():
    inf = torch.inf
    logits = torch.tensor([[2.0, 2.0, -inf], [inf, 0.0, inf], [-inf, -inf, -inf], [torch.nan, 1.0, -200.0]])
    expected = torch.tensor([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0, 0], [0, 1, 0]])
    assert torch.equal(sampling.softmax(logits), expected)
    assert torch.equal(sampling.softmax(torch.tensor([[1.0, 3.0, 3.0]]), 0.0), torch.tensor([[0, 0.5, 0.5]]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 250])
def test_top_k(dtype, k):
    probs, logits = probabilities((3, 300), dtype), randn((3, 300), dtype, 1)
    check_probs(sampling.top_k_renorm_probs(probs, k), renormed(probs, kept_by_top_k(probs, k)))
    expected = logits.masked_fill(~kept_by_top_k(logits, k), -torch.inf)
    assert torch.equal(sampling.top_k_mask_logits(logits, k), expected)


def test_top_k_keeps_ties_and_what_exp_would_lose():
    assert torch.equal(
        sampling.top_k_renorm_probs(torch.tensor([[0.2, 0.4, 0.2, 0.2]]), 2), torch.tensor([[0.2, 0.4, 0.2, 0.2]])
    )
    logits = torch.tensor([[0.0, -500.0, -600.0, -torch.inf]])
    assert sampling.top_k_mask_logits(logits, 2).tolist() == [[0, -500, -torch.inf, -torch.inf]]
    assert torch.equal(sampling.top_k_mask_logits(logits, 0), logits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.7, 0.999, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_top_p(dtype, p, shape):
    probs = probabilities(shape, dtype)
    check_probs(sampling.top_p_renorm_probs(probs, p), renormed(probs, kept_by_top_p(probs, p)))


def test_parameters_of_each_row():
    probs, p, k = probabilities((3, 40)), torch.tensor([0.2, 0.9, 1.0]), torch.tensor([1, 0, 7])
    by_p, by_k = sampling.top_p_renorm_probs(probs, p), sampling.top_k_renorm_probs(probs, k)
    for row in range(3):
        own = probs[row : row + 1]
        assert torch.equal(by_p[row : row + 1], sampling.top_p_renorm_probs(own, p[row].item()))
        assert torch.equal(by_k[row : row + 1], sampling.top_k_renorm_probs(own, k[row].item()))


def philox(seed, stream, offset):
    """Philox4x32-10's first 64 bits, in Python's integers."""
    mask, c, key = 2**32 - 1, [offset % 2**32, offset >> 32, stream, 0], [seed % 2**32, seed >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ key[0], q & mask, (p >> 32) ^ c[3] ^ key[1], p & mask]
        key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
    return c[1] << 32 | c[0]


def test_philox_is_the_published_one():
    # The known answer for a counter and key of zeros that Random123 comes with.
    assert philox(0, 0, 0) == 0xE169C58D6627E8D5


def drawn(probs, random):
    """The token at which the running sum of the weights, as integers, passes random / 2^64 of their sum."""
    exponent = torch.frexp(probs.float().max()).exponent.item() - 1
    masses = (probs.double() * 2.0 ** (40 - exponent)).long()
    target = random * int(masses.sum()) >> 64
    return int((masses.cumsum(0) <= target).sum())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 1), (40, 7), (9, 300), (3, 5000)])
def test_tokens_are_exact(dtype, shape):
    probs = probabilities(shape, dtype)
    seed, offset = 0xFEDCBA9876543210, 2**40 + 3
    expected = [drawn(row, philox(seed, i, offset)) for i, row in enumerate(probs)]
    assert sampling.sampling_from_probs(probs, seed=seed, offset=offset).tolist() == expected


def test_seeds_and_offsets():
    probs = probabilities((6, 400))
    seeds, offsets = torch.arange(6) * 77, torch.tensor([0, 5, 5, 0, 9, 1])
    each = sampling.sampling_from_probs(probs, seed=seeds, offset=offsets)
    expected = [drawn(row, philox(s, 0, o)) for row, s, o in zip(probs, seeds.tolist(), offsets.tolist(), strict=True)]
    assert each.tolist() == expected
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        sampling.sampling_from_probs(probs[order], seed=seeds[order], offset=offsets[order]), each[order]
    )
    assert torch.equal(sampling.sampling_from_probs(probs, seed=seeds.to(torch.uint64), offset=offsets), each)
    shared = sampling.sampling_from_probs(probs, seed=torch.tensor([3]), offset=torch.tensor([8]))
    assert torch.equal(shared, sampling.sampling_from_probs(probs, seed=3, offset=8))
    by_generator = [
        sampling.sampling_from_probs(probs, generator=torch.Generator().manual_seed(s)).tolist() for s in (1, 1, 2)
    ]
    assert by_generator[0] == by_generator[1] != by_generator[2]


def check_frequencies(tokens, probs):
    """Pearson's chi-square, below what one in a thousand fixed seeds would exceed; nothing improbable is drawn."""
    counts = torch.bincount(tokens.long(), minlength=len(probs)).double()
    assert counts[probs == 0].sum() == 0
    likely = probs > 0
    expected = probs[likely].double() * len(tokens)
    statistic = ((counts[likely] - expected) ** 2 / expected).sum().item()
    freedom = int(likely.sum()) - 1
    # Wilson and Hilferty's approximation of the quantile.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert statistic < limit, (statistic, limit)


LOGITS = torch.linspace(1.5, -1.5, 12)[torch.randperm(12, generator=torch.Generator().manual_seed(0))]
PROBS = LOGITS.softmax(0)
SAMPLERS = {
    "all": (sampling.sampling_from_probs, (), PROBS),
    "top_k": (sampling.top_k_sampling_from_probs, (5,), renormed(PROBS, kept_by_top_k(PROBS, 5))),
    "top_p": (sampling.top_p_sampling_from_probs, (0.7,), renormed(PROBS, kept_by_top_p(PROBS, 0.7))),
    "min_p": (sampling.min_p_sampling_from_probs, (0.2,), renormed(PROBS, PROBS.ge(0.2 * PROBS.max()))),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_frequencies(name):
    sampler, parameters, expected = SAMPLERS[name]
    indices = torch.ones(1000, dtype=torch.int64)
    rows = torch.stack((torch.zeros(12), PROBS * 3))  # not normalised, and the second of two
    tokens, valid = sampler(rows, *parameters, indices=indices, seed=11, offset=4, return_valid=True)
    assert tokens.dtype is torch.int64 and valid.all()
    check_frequencies(tokens, expected)


@pytest.mark.parametrize("order", ["top_k_first", "joint"])
def test_frequencies_of_both_filters(order):
    by_k = kept_by_top_k(PROBS, 6)
    whole = renormed(PROBS, by_k).float() if order == "top_k_first" else PROBS
    expected = renormed(PROBS, by_k & kept_by_top_p(whole, 0.8))
    indices = torch.zeros(500, dtype=torch.int32)
    options = {"indices": indices, "filter_apply_order": order, "seed": 5}
    check_frequencies(sampling.top_k_top_p_sampling_from_probs(PROBS[None], 6, 0.8, **options), expected)
    check_frequencies(sampling.top_k_top_p_sampling_from_logits(LOGITS[None], 6, 0.8, **options), expected)


def test_the_orders_differ():
    assert (kept_by_top_p(renormed(PROBS, kept_by_top_k(PROBS, 6)), 0.8) != kept_by_top_p(PROBS, 0.8)).any()


def test_logits_and_likely_rows():
    logits = randn((4, 500), torch.bfloat16, 3, 3.0)
    likeliest = sampling.top_k_top_p_sampling_from_logits(logits, 1, 1.0).long()
    assert torch.equal(logits.gather(1, likeliest[:, None])[:, 0], logits.amax(-1))
    assert sampling.sampling_from_logits(logits.masked_fill(torch.arange(500) != 7, -torch.inf)).tolist() == [7] * 4


def test_rows_without_anything_to_draw():
    probs = torch.tensor([[0.0, 0.0], [torch.nan, torch.nan], [0.0, 1e-30], [-1.0, 2.0]])
    tokens, valid = sampling.sampling_from_probs(probs, seed=1, return_valid=True)
    assert tokens.tolist() == [0, 0, 1, 1] and valid.tolist() == [False, False, True, True]
    with pytest.raises(ValueError, match="probs contains NaN"):
        sampling.sampling_from_probs(probs, check_nan=True)


def test_refusals():
    probs = probabilities((3, 20))
    with pytest.raises(RuntimeError, match=r"sample: top_p has shape \[2\], expected \[3\] = \[rows\]"):
        sampling.top_p_sampling_from_probs(probs, torch.ones(2))
    with pytest.raises(RuntimeError, match="values is int64, expected float32, bfloat16 or float16"):
        sampling.sampling_from_probs(probs.long())
    with pytest.raises(RuntimeError, match="seed has shape"):
        sampling.sampling_from_probs(probs, seed=torch.tensor([1, 2]))
    with pytest.raises(RuntimeError, match="seed is int32, expected int64"):
        sampling.sampling_from_probs(probs[:2], seed=torch.tensor([1, 2], dtype=torch.int32))
    with pytest.raises(ValueError, match="filter_apply_order is 'p', expected 'top_k_first' or 'joint'"):
        sampling.top_k_top_p_sampling_from_probs(probs, 2, 0.5, filter_apply_order="p")
