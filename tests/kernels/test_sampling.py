import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.kernel_inputs import assert_close, dtypes, randn, seeds
from vllm.kernels.sampling import apply_penalties, apply_repetition_penalties, sample_tokens

INF = float("inf")
vocabularies = st.one_of(st.integers(1, 700), st.sampled_from([4096, 32000]))


def sample(logits, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, uniform=0.5):
    rows = logits.shape[0]

    def column(value, dtype=torch.float32):
        return value if isinstance(value, torch.Tensor) else torch.full((rows,), value, dtype=dtype)

    return sample_tokens(
        logits, column(temperature), column(top_k, torch.int32), column(top_p), column(min_p), column(uniform)
    )


@given(
    vocab=vocabularies, temperature=st.sampled_from([0.1, 0.7, 1.0, 3.0]), top_k=st.sampled_from([0, 1, 5, 50, 1000]),
    top_p=st.sampled_from([1.0, 0.99, 0.9, 0.5, 0.01, 0.0]), min_p=st.sampled_from([0.0, 0.05, 1.0]),
    spread=st.sampled_from([0.05, 1.0, 4.0]), coarse=st.booleans(),
    uniform=st.floats(0.0, 1.0, width=32, exclude_max=True), seed=seeds,
)  # fmt: skip
def test_inverts_the_distribution(vocab, temperature, top_k, top_p, min_p, spread, coarse, uniform, seed):
    logits = randn((1, vocab), torch.float32, seed, spread)
    if coarse:  # many ties, as logits rounded to bf16 have
        logits = logits.mul(4).round().div(4)
    token = int(sample(logits, temperature, top_k, top_p, min_p, uniform))
    probabilities = reference.token_distribution(logits[0], temperature, top_k, top_p, min_p)
    cumulative = probabilities.cumsum(-1)
    assert 0 <= token < vocab
    # The token covers `uniform` in the distribution, within f32's rounding of the weights and of top_p's threshold.
    slack = 1e-3 if top_p < 1 else 1e-5
    assert cumulative[token] >= uniform - slack
    assert cumulative[token] - probabilities[token] <= uniform + slack


@given(vocab=st.integers(2, 60), top_k=st.integers(0, 60), top_p=st.sampled_from([1.0, 0.8, 0.3]), seed=seeds)
def test_every_kept_token_is_drawn_and_no_other(vocab, top_k, top_p, seed):
    logits = randn((1, vocab), torch.float32, seed).expand(4000, vocab)
    drawn = sample(logits, 1.0, top_k, top_p, 0.0, torch.linspace(0, 0.99999, 4000)).unique()
    probabilities = reference.token_distribution(logits[0], 1.0, top_k, top_p, 0.0)
    likely = (probabilities > 1e-3).nonzero().flatten()
    assert torch.isin(likely, drawn).all()
    assert (probabilities[drawn] > 0).all()


@given(rows=st.integers(0, 5), vocab=vocabularies, coarse=st.booleans(), seed=seeds)
def test_greedy(rows, vocab, coarse, seed):
    logits = randn((rows, vocab), torch.float32, seed)
    if coarse:
        logits = logits.round()
    best = logits.max(-1, keepdim=True).values
    lowest = (logits == best).int().argmax(-1)
    assert torch.equal(sample(logits, temperature=0.0), lowest)


def test_rows_have_their_own_parameters():
    logits = randn((6, 5000), torch.float32, 1, 2.0)
    parameters = {
        "temperature": torch.tensor([0.0, 1.0, 0.5, 1.0, 2.0, 1.0]),
        "top_k": torch.tensor([0, 0, 10, 0, 3, 0], dtype=torch.int32),
        "top_p": torch.tensor([1.0, 1.0, 1.0, 0.9, 0.8, 1.0]),
        "min_p": torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.1]),
        "uniform": torch.rand(6, generator=torch.Generator().manual_seed(3)),
    }
    together = sample(logits, **parameters)
    alone = [int(sample(logits[i : i + 1], **{k: v[i : i + 1] for k, v in parameters.items()})) for i in range(6)]
    assert together.tolist() == alone


def test_padded_rows():
    logits = randn((3, 1000), torch.float32, 0)[:, :900]
    assert torch.equal(sample(logits, temperature=0.0), logits.argmax(-1))


def test_masked_tokens_are_never_drawn():
    logits = torch.full((200, 300), -INF)
    logits[:, [7, 250]] = torch.tensor([1.0, 2.0])
    drawn = sample(logits, uniform=torch.linspace(0, 0.99999, 200)).unique()
    assert drawn.tolist() == [7, 250]


@pytest.mark.parametrize("value", [-INF, INF, float("nan")])
@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.5}])
def test_rows_without_a_distribution_give_some_token(value, options):
    token = int(sample(torch.full((1, 500), value), **options))
    assert 0 <= token < 500


def test_equal_logits_all_stay():
    logits = torch.zeros(1000, 5000)
    drawn = sample(logits, top_p=0.5, top_k=20, uniform=torch.linspace(0, 0.9999, 1000))
    assert drawn.unique().numel() == 1000


@given(rows=st.integers(0, 4), vocab=st.integers(1, 300), dtype=dtypes, same_dtype=st.booleans(), seed=seeds)
def test_repetition_penalties(rows, vocab, dtype, same_dtype, seed):
    logits = randn((rows, vocab), dtype, seed)
    prompt, output = randn((2, rows, vocab), torch.float32, seed + 1) > 1
    penalties = torch.tensor([1.0, 1.3, 2.0, 0.5])[:rows].to(dtype if same_dtype else torch.float32)
    expected = reference.repetition_penalties(logits, prompt | output, penalties)
    apply_repetition_penalties(logits, prompt, output, penalties)
    assert_close(logits, expected)


@given(rows=st.integers(0, 4), vocab=st.integers(1, 200), seed=seeds)
def test_penalties(rows, vocab, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = randn((rows, vocab), torch.float32, seed)
    counts = torch.randint(-2, 4, (rows, vocab), generator=generator)  # -1: in the prompt only; -2: not seen
    repetition, frequency, presence = torch.rand(3, rows, generator=generator) + 0.5
    seen, times = counts >= -1, counts.clamp(min=0)
    expected = reference.repetition_penalties(logits, seen, repetition)
    expected -= frequency.unsqueeze(-1) * times + presence.unsqueeze(-1) * (times > 0)
    offsets = torch.cat((torch.zeros(1), seen.sum(-1).cumsum(-1))).int()
    apply_penalties(
        logits, offsets, seen.nonzero()[:, 1].int(), times[seen].int(), repetition, frequency, presence
    )  # fmt: skip
    assert_close(logits, expected)


def penalize(offsets=(0, 1, 2), ids=(3, 4), counts=(1, 1), rows=2):
    ones = torch.ones(rows)
    ints = [torch.tensor(values, dtype=torch.int32) for values in (offsets, ids, counts)]
    apply_penalties(torch.zeros(2, 8), *ints, ones, ones, ones)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": (3, 8)}, "token_ids holds 8, expected 0 to 7"),
        ({"ids": (-1, 8)}, "token_ids holds -1"),
        ({"offsets": (0, 3, 2)}, "row_offsets does not ascend from 0 to 2, the size of token_ids"),
        ({"offsets": (0, 2)}, r"row_offsets has shape \[2\], expected \[3\] = \[rows \+ 1\]"),
        ({"counts": (1,)}, r"counts has shape \[1\], expected \[2\]"),
        ({"rows": 3}, r"repetition has shape \[3\], expected \[2\] = \[rows\]"),
    ],
)
def test_penalty_refusals(arguments, message):
    with pytest.raises(RuntimeError, match="apply_penalties_: " + message):
        penalize(**arguments)


def test_sampling_refusals():
    with pytest.raises(RuntimeError, match="sample_tokens: logits is float16, expected float32"):
        sample(torch.zeros(1, 4).half())
    with pytest.raises(RuntimeError, match=r"logits has shape \[1, 0\], expected \[rows, vocab\] with a vocab of 1"):
        sample(torch.zeros(1, 0))
    with pytest.raises(RuntimeError, match="sample_tokens: top_k is int64, expected int32"):
        sample(torch.zeros(1, 4), top_k=torch.zeros(1, dtype=torch.int64))
    with pytest.raises(RuntimeError, match=r"uniform has shape \[2\], expected \[1\] = \[rows\]"):
        sample(torch.zeros(1, 4), uniform=torch.zeros(2))
