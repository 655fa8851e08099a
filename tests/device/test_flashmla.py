"""vllm.kernels.flashmla over the emulated kernel: latents in a paged cache, several tokens a sequence, splits."""

import math

import pytest
import torch

from support.device_ops import EMULATED, Ops
from vllm.kernels import flashmla

LENGTHS = (70, 1, 0, 200, 3)


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    supported, reason = flashmla.is_flashmla_supported()
    if not EMULATED and not supported:
        pytest.skip(reason)
    monkeypatch.setattr(flashmla, "_ops", lambda: Ops("_flashmla_C"))


def inputs(dtype, heads, tokens, width=576, block_size=64, lengths=LENGTHS):
    """Query, cache, block table and lengths; slots that nothing wrote hold NaN."""
    generator = torch.Generator().manual_seed(heads)
    needed = [-(-length // block_size) for length in lengths]
    order = torch.randperm(sum(needed) + 2, generator=generator).int()
    cache = torch.full((len(order), block_size, 1, width), math.nan, dtype=dtype)
    table = torch.full((len(lengths), max(needed) + 1), -1, dtype=torch.int32)
    for seq, length in enumerate(lengths):
        table[seq, : needed[seq]] = order[sum(needed[:seq]) :][: needed[seq]]
        rows = torch.randn(length, 1, width, generator=generator).to(dtype)
        position = torch.arange(length)
        cache[table[seq, position // block_size].long(), position % block_size] = rows
    query = torch.randn(len(lengths), tokens, heads + 1, width, generator=generator).to(dtype)[:, :, :heads]
    return query, cache, table, torch.tensor(lengths, dtype=torch.int32)


def expected(query, cache, table, lengths, causal):
    """Output and log-sum-exp in f64; zeros and -inf for queries that see no key."""
    seqs, tokens, heads, width = query.shape
    out, lse = torch.zeros(seqs, tokens, heads, 512).double(), torch.full((seqs, heads, tokens), -math.inf).double()
    for seq, length in enumerate(lengths.tolist()):
        position = torch.arange(length)
        block = table[seq, position // cache.shape[1]].long()
        keys = cache[block, position % cache.shape[1], 0].double()
        logits = torch.einsum("thd,kd->htk", query[seq].double(), keys) * width**-0.5
        if causal:
            past = torch.arange(length - tokens, length).unsqueeze(1) - position
            logits = logits.masked_fill(past < 0, -math.inf)
        lse[seq] = logits.logsumexp(-1)
        out[seq] = torch.einsum("htk,kd->thd", logits.softmax(-1).nan_to_num(0.0), keys[:, :512])
    return out, lse


def check(case, causal=False, **options):
    query, cache, table, lengths = case
    plan, _ = flashmla.get_mla_metadata()
    out, lse = flashmla.flash_mla_with_kvcache(query, cache, table, lengths, 512, plan, causal=causal, **options)
    wanted, wanted_lse = expected(*case, causal)
    step = 2**-8 if query.dtype is torch.bfloat16 else 2**-10
    torch.testing.assert_close(out.double(), wanted, rtol=2 * step, atol=2 * step)
    torch.testing.assert_close(lse.double(), wanted_lse, rtol=1e-4, atol=1e-4)
    return out


@pytest.mark.parametrize(("dtype", "heads", "tokens"), [(torch.bfloat16, 16, 1), (torch.float16, 40, 1)])
def test_decode(dtype, heads, tokens):
    check(inputs(dtype, heads, tokens))


@pytest.mark.parametrize("causal", [False, True])
def test_several_tokens(causal):
    check(inputs(torch.bfloat16, 6, 3), causal)


def test_splits():
    """One sequence leaves multiprocessors idle, so that its keys are split."""
    check(inputs(torch.bfloat16, 4, 1, lengths=(500,)))


def test_latents_alone_in_other_blocks():
    check(inputs(torch.float16, 3, 2, width=512, block_size=16))
    check(inputs(torch.float16, 3, 1, width=512, block_size=16, lengths=(9,)))


def test_out_is_written():
    case = inputs(torch.bfloat16, 2, 1)
    out = torch.empty(len(LENGTHS), 1, 2, 512, dtype=torch.bfloat16)
    assert check(case, out=out).data_ptr() == out.data_ptr()


def test_what_is_not_there_is_refused_by_name():
    query, cache, table, lengths = inputs(torch.bfloat16, 2, 1)
    plan, _ = flashmla.get_mla_metadata()
    for options, error, named in (
        ({"is_fp8_kvcache": True}, NotImplementedError, "is_fp8_kvcache"),
        ({"indices": lengths}, NotImplementedError, "indices"),
        ({"head_dim_v": 128}, RuntimeError, "head_size_v is 128, expected 512"),
        ({"q": query[..., :128]}, RuntimeError, "expected a multiple of 16 from 512 to 576"),
        ({"q": query.float()}, RuntimeError, "q is float32, expected float16"),
        ({"k_cache": cache[:0]}, RuntimeError, "expected at least one block and one slot"),
    ):
        arguments = {"q": query, "k_cache": cache, "head_dim_v": 512} | options
        with pytest.raises(error, match=named):
            flashmla.flash_mla_with_kvcache(
                block_table=table, cache_seqlens=lengths, tile_scheduler_metadata=plan, **arguments
            )
