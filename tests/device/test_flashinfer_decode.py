"""vllm.flashinfer.decode: plans of ragged page lists, over the attention kernel."""

import math

import pytest
import torch

from support.attention_case import AttentionCase
from support.device_ops import Ops
from vllm.flashinfer import BatchDecodeWithPagedKVCacheWrapper, library, sampling

WORKSPACE = torch.empty(16, dtype=torch.uint8)
LENGTHS = ((33, 1), (1, 1), (64, 1), (17, 1))


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(library, "attention_op", lambda: Ops("_C").paged_attention_varlen)


def pages_of(case):
    """indptr, indices, last_page_len."""
    size = case.block_size
    lists = [table[: -(-n // size)] for table, n in zip(case.block_table, case.seq_lens.tolist(), strict=True)]
    counts = torch.tensor([0, *map(len, lists)]).cumsum(0).int()
    return counts, torch.cat(lists), ((case.seq_lens - 1) % size + 1).int()


def plan(wrapper, case, **options):
    sizes = (case.heads, case.kv_heads, case.head_size, case.block_size)
    wrapper.plan(*pages_of(case), *sizes, **options)


def check(case, result):
    out, lse = result
    expected, expected_lse = case.expected()
    torch.testing.assert_close(out.double(), expected, rtol=2**-9, atol=2**-9)
    torch.testing.assert_close(lse.double() * math.log(2), expected_lse.t(), rtol=1e-4, atol=1e-4)


def test_pairs_of_caches_and_one_tensor_in_both_layouts():
    case = AttentionCase(LENGTHS, torch.float16, heads=6, kv_heads=2)
    nhd = case.key_cache, case.value_cache
    hnd = [cache.transpose(1, 2).contiguous() for cache in nhd]
    for layout, caches in (("NHD", nhd), ("HND", hnd)):
        wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE, layout)
        plan(wrapper, case, q_data_type="float16")
        check(case, wrapper.run(case.query, caches, return_lse=True))
        check(case, wrapper.run(case.query, torch.stack(tuple(caches), 1), return_lse=True))


@pytest.mark.parametrize(
    ("sequences", "fields", "options"),
    [
        (LENGTHS, {"sliding_window": 9}, {"window_left": 8}),
        (LENGTHS, {"soft_cap": 0.7}, {"logits_soft_cap": 0.7}),
        (((33, 3), (3, 3), (20, 3)), {}, {"q_len_per_req": 3}),
    ],
)
def test_options_of_a_plan(sequences, fields, options):
    case = AttentionCase(sequences, torch.float16, heads=2, kv_heads=1, **fields)
    wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE)
    plan(wrapper, case, **options)
    check(case, wrapper.run(case.query, (case.key_cache, case.value_cache), return_lse=True))


def test_arguments_as_flashinfers_callers_give_them():
    """By name and by place, also those that choose nothing here."""
    case = AttentionCase(LENGTHS, torch.float16, heads=2, kv_heads=1)
    caches, sizes = (case.key_cache, case.value_cache), (2, 1, case.head_size, case.block_size)
    wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE)
    types = dict.fromkeys(("q_data_type", "kv_data_type", "o_data_type", "data_type"), "float16")
    hints = {"non_blocking": False, "block_tables": None, "seq_lens": case.seq_lens, "disable_split_kv": True}
    wrapper.plan(*pages_of(case), *sizes, "NONE", **types, **hints, rope_scale=1.0, rope_theta=1e4, fixed_split_size=-1)
    check(case, wrapper.run(case.query, caches, return_lse=True, enable_pdl=True, window_left=-1, sinks=None))
    wrapper.plan(*pages_of(case), *sizes, "NONE", -1, None, None, None, None, None, 2 * case.scale)
    check(case, wrapper.run(case.query, caches, q_scale=0.5, return_lse=True))
    assert not wrapper.is_cuda_graph_enabled


def test_a_scale_of_zero_is_one():
    """All keys weigh the same, as for a query of zeros."""
    case = AttentionCase(LENGTHS, torch.float16, heads=2, kv_heads=1)
    caches = case.key_cache, case.value_cache
    wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE)
    plan(wrapper, case)
    expected = wrapper.run(torch.zeros_like(case.query), caches)
    for scales in ({"k_scale": 0.0}, {"q_scale": 0.0}):
        assert torch.equal(wrapper.run(case.query, caches, **scales), expected)


def test_scales_and_given_results():
    case = AttentionCase(LENGTHS, torch.float16, heads=2, kv_heads=2)
    wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE)
    plan(wrapper, case, sm_scale=case.scale * 0.25)
    out, lse = torch.empty(4, 2, 64, dtype=torch.float16), torch.empty(4, 2)
    scales = {"q_scale": 2.0, "k_scale": 2.0, "v_scale": 0.5}
    given = wrapper.run(case.query, (case.key_cache, case.value_cache), out=out, lse=lse, return_lse=True, **scales)
    assert given[0] is out and given[1] is lse
    check(case, (out.double() * 2, lse))


def test_a_sequence_without_pages_gets_zeros():
    case = AttentionCase(LENGTHS, torch.float16, heads=2, kv_heads=1)
    indptr, indices, last = pages_of(case)
    wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE)
    wrapper.plan(torch.cat((indptr, indptr[-1:])), indices, torch.cat((last, last[:1] * 0)), 2, 1, 64, case.block_size)
    query = torch.cat((case.query, case.query[:1]))
    out, lse = wrapper.run(query, (case.key_cache, case.value_cache), return_lse=True)
    check(case, (out[:-1], lse[:-1]))
    assert (out[-1] == 0).all() and (lse[-1] == -torch.inf).all()


def test_plans_of_a_cuda_graph_stay_in_place():
    indices, last = torch.empty(9, dtype=torch.int32), torch.empty(4, dtype=torch.int32)
    buffers = {"paged_kv_indices_buffer": indices, "paged_kv_last_page_len_buffer": last}
    wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE, use_cuda_graph=True, **buffers)
    addresses = []
    for sequences in (LENGTHS, ((5, 1), (70, 1), (16, 1), (48, 1))):
        case = AttentionCase(sequences, torch.float16, heads=2, kv_heads=1)
        plan(wrapper, case)
        addresses.append((wrapper._planned.seq_lens.data_ptr(), wrapper._planned.block_table.data_ptr()))
        check(case, wrapper.run(case.query, (case.key_cache, case.value_cache), return_lse=True))
    assert addresses[0] == addresses[1] and wrapper.is_cuda_graph_enabled
    with pytest.raises(ValueError, match="the plan has 1 sequences of up to 1 pages, expected 4 of up to 9"):
        plan(wrapper, AttentionCase(((5, 1),), torch.float16))
    with pytest.raises(ValueError, match="use_cuda_graph needs"):
        BatchDecodeWithPagedKVCacheWrapper(WORKSPACE, use_cuda_graph=True)


def test_refusals():
    case = AttentionCase(LENGTHS, torch.float16)
    wrapper = BatchDecodeWithPagedKVCacheWrapper(WORKSPACE)
    caches = case.key_cache, case.value_cache
    with pytest.raises(RuntimeError, match="there is no plan yet"):
        wrapper.run(case.query, caches)
    with pytest.raises(ValueError, match="pos_encoding_mode is 'ALIBI', expected 'NONE'"):
        plan(wrapper, case, pos_encoding_mode="ALIBI")
    plan(wrapper, case, q_data_type=torch.bfloat16)
    with pytest.raises(RuntimeError, match=r"q is torch\.float16, expected the plan's torch\.bfloat16"):
        wrapper.run(case.query, caches)
    with pytest.raises(RuntimeError, match="expected the plan's 4 and 2 heads of 64, 16 slots a page"):
        wrapper.run(case.query[:, :2], caches)
    with pytest.raises(ValueError, match=r"q_data_type torch\.float16, kv_data_type torch\.float8_e4m3fn, expected"):
        plan(wrapper, case, q_data_type=torch.float16, kv_data_type="float8_e4m3fn")
    plan(wrapper, case, window_left=8)
    with pytest.raises(ValueError, match="window_left is 9, expected the plan's 8"):
        wrapper.run(case.query, caches, window_left=9)
    with pytest.raises(ValueError, match="sinks is a tensor, expected None"):
        wrapper.run(case.query, caches, sinks=torch.zeros(4))
    with pytest.raises(ValueError, match="kv_layout is 'DNH'"):
        BatchDecodeWithPagedKVCacheWrapper(WORKSPACE, "DNH")


def test_a_build_without_the_module_names_its_package():
    try:
        library.sampling_ops()
    except ImportError as error:
        assert "conda install vllm-flashinfer" in str(error) and "\n" not in str(error)
    else:
        assert callable(sampling.softmax)
