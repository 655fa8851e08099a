"""The screened argmax is that of the head's own logits, whatever the weights and inputs are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.kernel_inputs import dtypes, layouts, randn, seeds, with_layout
from vllm.kernels.linear import linear_packed, pack_linear_weight
from vllm.kernels.quantized_linear import pack_quantized_weight, quantize_weight
from vllm.kernels.screened_head import screen_head, screened_argmax

row_counts = st.one_of(st.integers(0, 40), st.sampled_from([64, 97]))
vocabularies = st.one_of(st.integers(1, 100), st.sampled_from([1000, 4099]))
widths = st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 129, 576]))


def all_logits(x: torch.Tensor, packed: torch.Tensor, vocabulary: int) -> torch.Tensor:
    logits = torch.empty(x.shape[0], vocabulary)
    linear_packed(logits, x, packed)
    return logits


def check(x: torch.Tensor, weight: torch.Tensor) -> int:
    packed = pack_linear_weight(weight)
    tokens, logits, computed = screened_argmax(x, packed, *screen_head(weight))
    expected = all_logits(x, packed, weight.shape[0])
    assert torch.equal(tokens, expected.argmax(-1) if len(x) else torch.empty(0, dtype=torch.int64))
    # Where sums overflow to both sides, as with dot products that round to infinities, no logit is a number.
    of_tokens = expected.gather(1, tokens[:, None]).squeeze(1)
    numbers = ~of_tokens.isnan()
    assert torch.equal(logits[numbers], of_tokens[numbers])
    return computed


@given(row_counts, vocabularies, widths, dtypes, layouts, seeds)
def test_random(m, n, k, dtype, layout, seed):
    check(with_layout(randn((m, k), dtype, seed), layout), randn((n, k), dtype, seed + 1))


@given(st.integers(1, 20), st.integers(1, 2000), widths, dtypes, seeds)
def test_nearly_equal_rows(m, n, k, dtype, seed):
    # Rows that differ in one bit of a few elements: the 8-bit copy cannot tell them from each other.
    weight = randn((1, k), dtype, seed).repeat(n, 1)
    weight[:, seed % k] *= 1 + torch.randint(0, 3, (n,)).to(dtype) * torch.finfo(dtype).eps
    check(randn((m, k), dtype, seed + 1), weight)


@given(st.integers(1, 8), dtypes, seeds)
def test_outliers_in_inputs_and_weights(m, dtype, seed):
    x, weight = randn((m, 256), dtype, seed), randn((3000, 256), dtype, seed + 1)
    x[:, 17] *= 1000
    weight[::7, 40] *= 100
    weight[5::11] *= 30
    check(x, weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_equal_logits_the_first(dtype):
    weight = torch.full((200, 64), 0.5, dtype=dtype)
    weight[:33] = -1  # all of the first panel, of seven
    assert check(torch.ones(3, 64, dtype=dtype), weight) == 3 * 6
    check(torch.zeros(3, 64, dtype=dtype), weight)
    check(torch.ones(3, 64, dtype=dtype), torch.zeros_like(weight))


@pytest.mark.parametrize("of_weight", [1e-42, 1e-38, 1e-22, 1.0, 1e18, 1e30])
@pytest.mark.parametrize("of_input", [1e-42, 1e-38, 1e-22, 1.0, 1e18])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_magnitudes(of_input, of_weight, dtype):
    x, weight = randn((5, 96), torch.float32, 0) * of_input, randn((500, 96), torch.float32, 1) * of_weight
    check(x.to(dtype), weight.to(dtype))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_inputs_that_are_not_finite_harm_their_row_alone(value):
    x, weight = randn((4, 64), torch.bfloat16, 0), randn((300, 64), torch.bfloat16, 1)
    x[2, 5] = value
    packed = pack_linear_weight(weight)
    tokens, _, _ = screened_argmax(x, packed, *screen_head(weight))
    expected = all_logits(x, packed, 300).argmax(-1)
    assert torch.equal(tokens[[0, 1, 3]], expected[[0, 1, 3]])
    assert 0 <= tokens[2] < 300


def test_weights_that_are_not_finite_are_computed():
    weight = randn((300, 64), torch.float32, 1)
    weight[100, 3], weight[200, 4] = float("inf"), float("nan")
    x = randn((4, 64), torch.float32, 0).abs()
    packed = pack_linear_weight(weight)
    tokens, logits, _ = screened_argmax(x, packed, *screen_head(weight))
    assert tokens.tolist() == [100] * 4
    assert logits.isinf().all()


def test_few_panels_are_computed():
    x, weight = randn((4, 576), torch.bfloat16, 0), randn((20000, 576), torch.bfloat16, 1)
    assert check(x, weight) < 4 * 625 / 10


def test_the_slices_of_a_large_head_make_the_screen_of_the_whole():
    weight = randn((5000, 96), torch.bfloat16, 0)
    screen, norms = screen_head(weight)
    codes, scales = quantize_weight(weight, 8)
    assert torch.equal(screen, pack_quantized_weight(codes, scales, bits=8, group_size=96))
    rounded = (codes.double() - 128) * scales
    of_panels = [
        torch.stack([part.norm(dim=1).max() for part in (error, whole)])
        for error, whole in zip((weight - rounded).split(32), rounded.split(32), strict=True)
    ]
    torch.testing.assert_close(norms, torch.stack(of_panels).float(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("n", "k"), [(40, 64), (1000, 577)])
def test_opcheck(n, k):
    weight, x = randn((n, k), torch.bfloat16, 0), randn((3, k), torch.bfloat16, 1)
    torch.library.opcheck(torch.ops._C.screen_head.default, (weight,))
    arguments = (x, pack_linear_weight(weight), *screen_head(weight))
    torch.library.opcheck(torch.ops._C.screened_argmax.default, arguments)


def test_what_does_not_fit():
    weight, x = randn((40, 64), torch.bfloat16, 0), randn((2, 64), torch.bfloat16, 1)
    packed = pack_linear_weight(weight)
    screen, norms = screen_head(weight)
    with pytest.raises(RuntimeError, match="weight"):
        screen_head(weight.t())
    with pytest.raises(RuntimeError, match=r"has shape \[0, 64\], expected at least \[1, 1\]"):
        screen_head(weight[:0])
    with pytest.raises(RuntimeError, match="packed has shape"):
        screened_argmax(x, pack_linear_weight(weight.repeat(2, 1)), screen, norms)
    with pytest.raises(RuntimeError, match="input"):
        screened_argmax(x.float(), packed, screen, norms)
    with pytest.raises(RuntimeError, match="screen"):
        screened_argmax(x[:, :32], packed, screen, norms)
    with pytest.raises(RuntimeError, match="norms has shape"):
        screened_argmax(x, packed, screen, norms[:1])
    codes, scales = quantize_weight(weight, 4)
    other = pack_quantized_weight(codes, scales, bits=4, group_size=32)
    with pytest.raises(RuntimeError, match="another packed weight than screen_head makes"):
        screened_argmax(x, packed, other, norms)
