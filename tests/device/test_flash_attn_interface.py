"""vllm.vllm_flash_attn over the emulated kernels: dense and paged keys, masks, splits; both versions."""

import math

import pytest
import torch

from support.attention_case import AttentionCase
from support.device_ops import EMULATED, Ops
from vllm.vllm_flash_attn import flash_attn_interface, flash_attn_varlen_func, get_scheduler_metadata

# (keys, query tokens): decode, prefill, a chunk, no keys at all, more queries than keys, nothing.
SEQUENCES = ((77, 1), (40, 40), (150, 7), (0, 2), (3, 5), (0, 0), (19, 2))


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(flash_attn_interface, "_ops", ops)


def ops(version):
    if not EMULATED and (reason := flash_attn_interface.fa_version_unsupported_reason(version)):
        pytest.skip(reason)
    return Ops(flash_attn_interface.NAMESPACES[version])


def dense(case):
    """Keys and values of all sequences one after another, and where each starts."""
    starts = [0, *torch.tensor([length for length, _ in case.sequences]).cumsum(0).tolist()]
    k, v = (torch.cat([both[i] for both in case.keys_values]).contiguous() for i in (0, 1))
    return k, v, {"cu_seqlens_k": torch.tensor(starts, dtype=torch.int32)}


def paged(case):
    return case.key_cache, case.value_cache, {"seqused_k": case.seq_lens, "block_table": case.block_table}


def run(case, keys, **options):
    k, v, where = keys(case)
    longest = [max(lengths) for lengths in zip(*case.sequences, strict=True)]
    return flash_attn_varlen_func(
        case.query, k, v, longest[1], case.query_start_loc, longest[0], softmax_scale=case.scale,
        return_softmax_lse=True, **where, **options,
    )  # fmt: skip


def expected(case, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None, s_aux=None, **_):
    """Output and log-sum-exp in f64; zeros and -inf for queries that see no key."""
    left, right = window_size[0], 0 if causal else window_size[1]
    outs, lses = [], []
    for seq, (length, query_len) in enumerate(case.sequences):
        query = case.query[case.query_start_loc[seq] :][:query_len].double()
        keys, values = case.keys_values[seq].double().repeat_interleave(case.heads // case.kv_heads, 2)
        logits = torch.einsum("qhd,khd->hqk", query, keys) * case.scale
        if softcap:
            logits = softcap * torch.tanh(logits / softcap)
        past = torch.arange(length - query_len, length).unsqueeze(1) - torch.arange(length)
        if alibi_slopes is not None:
            logits = logits - alibi_slopes.expand(len(case.sequences), -1)[seq].double()[:, None, None] * past.abs()
        hidden = (past > left if left >= 0 else past != past) | (-past > right if right >= 0 else past != past)
        logits = logits.masked_fill(hidden, -math.inf)
        if s_aux is not None:  # one more key, whose value is 0
            logits = torch.cat([logits, s_aux.double()[:, None, None].expand(-1, query_len, 1)], -1)
            values = torch.cat([values, values.new_zeros(1, *values.shape[1:])])
        outs.append(torch.einsum("hqk,khd->qhd", logits.softmax(-1).nan_to_num(0.0), values))
        lses.append(logits.logsumexp(-1))
    return torch.cat(outs), torch.cat(lses, 1)


def check(case, keys, **options):
    out, lse = run(case, keys, **options)
    wanted, wanted_lse = expected(case, **options)
    step = 2**-8 if case.dtype is torch.bfloat16 else 2**-10
    torch.testing.assert_close(out.double(), wanted, rtol=2 * step, atol=2 * step)
    torch.testing.assert_close(lse.double(), wanted_lse, rtol=1e-4, atol=1e-4)


VERSIONS = (2, 3)
MASKS = [
    {},
    {"causal": True},
    {"window_size": (9, 3)},
    {"window_size": (-1, 0), "softcap": 0.7},
    {"causal": True, "window_size": (40, -1)},
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("keys", [dense, paged])
@pytest.mark.parametrize("options", MASKS, ids=str)
def test_masks(version, keys, options):
    check(AttentionCase(SEQUENCES, torch.bfloat16, heads=4, kv_heads=2), keys, fa_version=version, **options)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("head_size", [32, 80, 128, 256])
def test_head_sizes(version, head_size):
    case = AttentionCase(((45, 3), (70, 70)), torch.float16, heads=2, kv_heads=1, head_size=head_size, block_size=8)
    check(case, dense, fa_version=version, causal=True)


@pytest.mark.parametrize("shape", [(4,), (len(SEQUENCES), 4)], ids=str)
def test_alibi(shape):
    slopes = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    check(AttentionCase(SEQUENCES, torch.float16, heads=4, kv_heads=2), paged, alibi_slopes=slopes)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("splits", [0, 2, 5])
@pytest.mark.parametrize("options", [{}, {"window_size": (70, 0)}], ids=str)
def test_splits(version, splits, options):
    case = AttentionCase(((300, 1), (5, 1), (0, 1), (160, 3)), torch.float16, heads=4, kv_heads=1)
    check(case, paged, fa_version=version, num_splits=splits, **options)


@pytest.mark.parametrize("splits", [1, 3])
def test_sinks(splits):
    sinks = torch.tensor([-1.0, 0.5, 3.0, 9.0], dtype=torch.bfloat16)
    case = AttentionCase(SEQUENCES, torch.bfloat16, heads=4, kv_heads=2)
    check(case, paged, fa_version=3, num_splits=splits, s_aux=sinks, window_size=(60, 0))


def test_heads_without_sinks():
    """Of which rows see no key of the first tile that their block reads."""
    sinks = torch.full((8,), -math.inf, dtype=torch.bfloat16)
    case = AttentionCase(((396, 16),), torch.bfloat16, heads=8, kv_heads=1)
    check(case, paged, fa_version=3, s_aux=sinks, causal=True, window_size=(128, -1))


@pytest.mark.parametrize("version", VERSIONS)
def test_few_keys_are_not_split(version):
    check(AttentionCase(((5, 1),), torch.float16, heads=2, kv_heads=1), dense, fa_version=version)


def test_sequences_split_as_planned():
    case = AttentionCase(((300, 1), (5, 1), (0, 1), (160, 2)), torch.float16, heads=4, kv_heads=1)
    plan = get_scheduler_metadata(4, 2, 300, 4, 1, 64, case.seq_lens, torch.float16, num_splits=4)
    assert plan.tolist() == [4, 1, 1, 3]
    check(case, paged, fa_version=3, num_splits=4, scheduler_metadata=plan, causal=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_scales_of_8_bit_keys_change_nothing(version):
    """Callers pass them whatever the type of their keys."""
    case, scale = AttentionCase(((5, 1),), torch.float16), torch.tensor([[3.0]])
    check(case, paged, fa_version=version, q_descale=scale, k_descale=scale, v_descale=scale)


def test_tokens_of_no_sequence_are_left_alone():
    case = AttentionCase(((30, 2), (9, 3)), torch.float16, heads=2, kv_heads=2)
    object.__setattr__(case, "query_start_loc", case.query_start_loc.clamp(max=2))
    for splits in (1, 2):
        out = torch.full(case.query.shape, 7.0, dtype=case.dtype)
        run(case, paged, out=out, num_splits=splits)
        assert (out[2:] == 7).all() and (out[:2] != 7).all()


def test_what_is_not_there_is_refused_by_name():
    case = AttentionCase(((5, 1),), torch.float16)
    for options, error, named in (
        ({"dropout_p": 0.1}, NotImplementedError, "dropout_p"),
        ({"s_aux": torch.zeros(4)}, NotImplementedError, "s_aux"),
        ({"scheduler_metadata": torch.zeros(1)}, NotImplementedError, "scheduler_metadata"),
        ({"num_splits": 999}, RuntimeError, "num_splits is 999, expected 0"),
        ({"softcap": -1.0}, RuntimeError, "softcap is below 0"),
        ({"cu_seqlens_k": case.query_start_loc}, ValueError, "not both"),
    ):
        with pytest.raises(error, match=named):
            k, v, where = paged(case)
            flash_attn_varlen_func(case.query, k, v, 1, case.query_start_loc, 5, **(where | options))
    with pytest.raises(RuntimeError, match="leftpad_k is given"):
        Ops("_vllm_fa2_C").varlen_fwd(
            case.query, k, v, None, case.query_start_loc, case.query_start_loc, case.seq_lens, case.seq_lens,
            case.block_table, None, 1, 5, 0.0, 1.0, False, True, -1, -1, 0.0, False, 0, None,
        )  # fmt: skip
