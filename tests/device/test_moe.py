import pytest
import torch

from support.device_emulator import Ops
from support.kernel_inputs import DTYPES, assert_close, randn

ops = Ops("_moe_C")


def expert_ids(tokens, top_k, experts, outside=False):
    """Distinct experts of each token; some of another rank."""
    generator = torch.Generator().manual_seed(tokens)
    ids = torch.rand(tokens, experts, generator=generator).argsort(-1)[:, :top_k].int()
    return torch.where(torch.rand(ids.shape, generator=generator) < 0.2, -1, ids).int() if outside else ids


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(1, 8, 2), (19, 60, 4), (9, 256, 8)])
def test_topk_softmax(dtype, tokens, experts, top_k):
    gating = randn((tokens, experts + 3), dtype, 0, 3.0)[:, :experts]
    gating[0] = gating[0].round()  # ties: the lower expert first
    weights = torch.empty(tokens, top_k)
    indices, rows = torch.empty(2, tokens, top_k, dtype=torch.int32)
    ops.topk_softmax(weights, indices, rows, gating)
    expected = gating.double().softmax(-1).sort(dim=-1, descending=True, stable=True)
    assert torch.equal(indices.long(), expected.indices[:, :top_k])
    assert_close(weights, expected.values[:, :top_k])
    assert torch.equal(rows, torch.arange(tokens * top_k).reshape(top_k, tokens).t().int())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [512, 77])
def test_moe_sum(dtype, hidden):
    x, out = randn((5, 4, hidden), dtype, 0), torch.empty(5, hidden, dtype=dtype)
    ops.moe_sum(x, out)
    assert_close(out, x.double().sum(1), terms=4.0)


@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(1, 8, 2), (40, 8, 2), (70, 64, 6), (0, 4, 2)])
@pytest.mark.parametrize("block_size", [1, 16])
@pytest.mark.parametrize("outside", [False, True])
def test_moe_align_block_size(tokens, experts, top_k, block_size, outside):
    ids = expert_ids(tokens, top_k, experts, outside)
    capacity = tokens * top_k + experts * (block_size - 1)
    blocks = -(-capacity // block_size)
    sorted_ids = torch.full((capacity,), -5, dtype=torch.int32)
    block_experts, total = torch.full((blocks,), -5, dtype=torch.int32), torch.empty(1, dtype=torch.int32)
    ops.moe_align_block_size(ids, experts, block_size, sorted_ids, block_experts, total)
    order, owners = [], []
    for expert in range(experts):
        mine = (ids.flatten() == expert).nonzero().flatten().tolist()
        padded = -(-len(mine) // block_size)
        order += mine + [ids.numel()] * (padded * block_size - len(mine))
        owners += [expert] * padded
    assert total.item() == len(order)
    assert sorted_ids.tolist() == order + [ids.numel()] * (capacity - len(order))
    assert block_experts.tolist() == owners + [0] * (blocks - len(owners))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "experts", "top_k", "hidden"), [(30, 8, 2, 512), (7, 60, 4, 77)])
@pytest.mark.parametrize("outside", [False, True])
def test_permute_and_back(dtype, tokens, experts, top_k, hidden, outside):
    x, ids = randn((tokens, hidden), dtype, 0), expert_ids(tokens, top_k, experts, outside)
    weights = torch.rand(tokens, top_k)
    permuted = torch.full((tokens * top_k, hidden), 7, dtype=dtype)
    first, rows = torch.empty(experts + 1, dtype=torch.int64), torch.empty(tokens, top_k, dtype=torch.int32)
    ops.moe_permute(x, weights, ids, rows, experts, top_k, permuted, first, rows)
    flat = ids.flatten()
    known = (flat >= 0).nonzero().flatten()
    order = known[flat[known].sort(stable=True).indices]
    assert torch.equal(permuted[: len(order)], x[order // top_k])
    assert (permuted[len(order) :] == 7).all()
    counts = torch.bincount(flat[known], minlength=experts)
    assert first.tolist() == [0, *counts.cumsum(0).tolist()]
    out = torch.empty_like(x)
    ops.moe_unpermute(permuted, weights, ids, rows, experts, top_k, out)
    kept = (weights * (ids >= 0)).double().sum(1, keepdim=True)
    assert_close(out, x.double() * kept, terms=4.0)


def test_refusals():
    ids = expert_ids(4, 2, 8)
    ints = torch.empty(8, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="has 8 entries and experts_ids 8, expected room for 128 rows"):
        ops.moe_align_block_size(ids, 8, 16, ints, ints, ints[:1])
    with pytest.raises(RuntimeError, match="there are 2000 experts, expected 1 to 1024"):
        ops.topk_softmax(torch.empty(4, 2), ids, ids.clone(), torch.zeros(4, 2000))
