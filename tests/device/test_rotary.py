import pytest
import torch

from support import kernel_reference as reference
from support.device_ops import Ops
from support.kernel_inputs import DTYPES, assert_close, randn

ops = Ops("_C")


def table_of(rotary_size, dtype):
    return reference.cos_sin_cache(rotary_size, 40).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f32_table", [False, True])
@pytest.mark.parametrize("is_neox", [False, True])
@pytest.mark.parametrize(("head_size", "rotary_size"), [(64, 64), (80, 32), (36, 20)])
def test_rotary_embedding(dtype, f32_table, is_neox, head_size, rotary_size):
    table = table_of(rotary_size, torch.float32 if f32_table else dtype)
    positions = torch.tensor([3, 0, 39, 17, 5])
    qkv = randn((5, 8, head_size), dtype, 0)
    query, key = qkv[:, :3], qkv[:, 3:5].contiguous().flatten(1)
    expected = reference.rotate(query, table[positions], is_neox)
    expected_key = reference.rotate(key.unflatten(-1, (2, -1)), table[positions], is_neox)
    ops.rotary_embedding(positions, query, key, head_size, table, is_neox)
    assert_close(query, expected, terms=2.0)
    assert_close(key.unflatten(-1, (2, -1)), expected_key, terms=2.0)


def test_two_token_dimensions_without_a_key():
    query, positions = randn((2, 3, 4, 64), torch.bfloat16, 0), torch.arange(6).reshape(2, 3)
    table = table_of(64, torch.bfloat16)
    expected = reference.rotate(query, table[positions], True)
    ops.rotary_embedding(positions, query, None, 64, table, True)
    assert_close(query, expected, terms=2.0)


@pytest.mark.parametrize("is_neox", [False, True])
@pytest.mark.parametrize("offset", [16, 7])
def test_elements_further_on_and_back_again(is_neox, offset):
    positions, table = torch.tensor([3, 0]), table_of(32, torch.bfloat16)
    query, key = randn((2, 2, 3, 64), torch.bfloat16, 0)
    before = query.clone(), key.clone()
    ops.rotary_embedding(positions, query, key, 64, table, is_neox, offset, False)
    for x, given in zip((query, key), before, strict=True):
        assert_close(x[..., offset:], reference.rotate(given[..., offset:], table[positions], is_neox), terms=2.0)
        assert torch.equal(x[..., :offset], given[..., :offset])
    ops.rotary_embedding(positions, query, key, 64, table, is_neox, offset, True)
    for x, given in zip((query, key), before, strict=True):
        torch.testing.assert_close(x, given, rtol=0.02, atol=0.02)


def test_positions_outside_the_table_change_nothing():
    query = randn((2, 1, 64), torch.float32, 0)
    expected = query.clone()
    ops.rotary_embedding(torch.tensor([-1, 40]), query, None, 64, table_of(64, torch.float32), True)
    assert torch.equal(query, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_neox", [False, True])
@pytest.mark.parametrize(("head_size", "rotary_size"), [(64, 64), (128, 32), (96, 96)])
def test_fused_qk_norm_rope(dtype, is_neox, head_size, rotary_size):
    table, positions = table_of(rotary_size, dtype), torch.tensor([3, 0, 39])
    qkv = randn((3, 9 * head_size), dtype, 0, 3.0)
    q_weight, k_weight = randn((head_size,), dtype, 1), randn((head_size,), dtype, 2)
    heads = qkv.unflatten(-1, (9, head_size)).clone()
    normed = [reference.rms_norm(heads[:, :5], q_weight, 1e-6), reference.rms_norm(heads[:, 5:7], k_weight, 1e-6)]
    expected = [*(reference.rotate(x, table[positions], is_neox) for x in normed), heads[:, 7:].double()]
    again, arguments = qkv.clone(), (5, 2, 2, head_size, 1e-6, q_weight, k_weight, table, is_neox, positions)
    ops.fused_qk_norm_rope(qkv, *arguments)
    ops.fused_qk_norm_rope(again, *arguments, 2)  # how a kernel shares the work changes nothing
    assert torch.equal(again, qkv)
    assert_close(qkv.unflatten(-1, (9, head_size)), torch.cat(expected, 1), terms=4.0)


def test_refusals():
    query = torch.zeros(2, 3, 64)
    with pytest.raises(RuntimeError, match=r"query has shape .* with head_size 48"):
        ops.rotary_embedding(torch.arange(2), query, None, 48, table_of(32, torch.float32), True)
    with pytest.raises(RuntimeError, match="rope_dim_offset 33, expected 0 to 32 = head_size - rotary_size"):
        ops.rotary_embedding(torch.arange(2), query, None, 64, table_of(32, torch.float32), True, 33, False)
    with pytest.raises(RuntimeError, match="even rotary_size of at most 64"):
        ops.rotary_embedding(torch.arange(2), query, None, 64, torch.zeros(4, 80), True)
