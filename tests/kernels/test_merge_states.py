import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import kernel_reference as reference
from support.kernel_inputs import assert_close, dtypes, layouts, randn, seeds, with_layout
from vllm.kernels.merge_states import merge_attn_states

INF = float("inf")


@given(
    tokens=st.integers(0, 6), heads=st.integers(1, 5), head_size=st.sampled_from([1, 17, 64, 128]), dtype=dtypes,
    layout=layouts, want_lse=st.booleans(), seed=seeds,
)  # fmt: skip
def test_merge(tokens, heads, head_size, dtype, layout, want_lse, seed):
    prefix, suffix = randn((2, tokens, heads, head_size), dtype, seed)
    prefix_lse, suffix_lse = randn((2, heads, tokens), torch.float32, seed + 1, 5.0)
    expected, expected_lse = reference.merge_attn_states(prefix, prefix_lse, suffix, suffix_lse)
    out = with_layout(torch.zeros_like(prefix), layout)
    out_lse = torch.empty(tokens, heads).t() if want_lse else None
    merge_attn_states(out, with_layout(prefix, layout), prefix_lse, with_layout(suffix, layout), suffix_lse, out_lse)
    assert_close(out, expected)
    if want_lse:
        assert_close(out_lse, expected_lse)


@pytest.mark.parametrize("first", [0, 2, 5])
def test_tokens_without_a_prefix(first):
    prefix, suffix = randn((2, 5, 3, 16), torch.bfloat16, 0)
    prefix_lse, suffix_lse = randn((2, 3, 5), torch.float32, 1, 5.0)
    expected, expected_lse = reference.merge_attn_states(prefix, prefix_lse, suffix, suffix_lse)
    expected[first:], expected_lse[:, first:] = suffix[first:].double(), suffix_lse[:, first:].double()
    out, lse = torch.empty_like(prefix), torch.empty(3, 5)
    merge_attn_states(out, prefix, prefix_lse, suffix, suffix_lse, lse, first)
    assert_close(out, expected)
    assert_close(lse, expected_lse)
    with pytest.raises(ValueError, match="prefill_tokens_with_context=6 is not accepted: give 0 to 5, the tokens"):
        merge_attn_states(out, prefix, prefix_lse, suffix, suffix_lse, None, 6)


def test_into_8_bits():
    prefix, suffix = randn((2, 5, 3, 16), torch.bfloat16, 0)
    prefix_lse, suffix_lse = randn((2, 3, 5), torch.float32, 1)
    merged, out, scale = torch.empty_like(prefix), torch.empty(5, 3, 16, dtype=torch.float8_e4m3fn), torch.tensor([0.1])
    merge_attn_states(merged, prefix, prefix_lse, suffix, suffix_lse)
    merge_attn_states(out, prefix, prefix_lse, suffix, suffix_lse, output_scale=scale)
    assert torch.equal(out.float(), (merged.float() / scale).to(torch.float8_e4m3fn).float())


@pytest.mark.parametrize("none", [INF, -INF])
def test_parts_without_keys(none):
    prefix, suffix = randn((2, 1, 1, 32), torch.float32, 0)
    out, lse, some, no = torch.empty(1, 1, 32), torch.empty(1, 1), torch.tensor([[2.0]]), torch.tensor([[none]])
    # A part without keys may hold anything.
    merge_attn_states(out, prefix, some, torch.full_like(suffix, float("nan")), no, lse)
    assert torch.equal(out, prefix) and lse.item() == 2.0
    merge_attn_states(out, torch.full_like(prefix, float("nan")), no, suffix, some, lse)
    assert torch.equal(out, suffix) and lse.item() == 2.0
    merge_attn_states(out, prefix, no, suffix, no, lse)
    assert torch.equal(out, prefix) and lse.item() == -INF


def test_refusals():
    x, lse = torch.zeros(2, 3, 8), torch.zeros(3, 2)
    with pytest.raises(RuntimeError, match=r"prefix_lse has shape \[2, 3\], expected \[3, 2\] = \[heads, tokens\]"):
        merge_attn_states(x, x, lse.t(), x, lse)
    with pytest.raises(RuntimeError, match="suffix_lse is float16, expected float32"):
        merge_attn_states(x, x, lse, x, lse.half())
    with pytest.raises(RuntimeError, match=r"output has shape .* expected 3 dimensions"):
        merge_attn_states(x[0], x, lse, x, lse)
