import pytest
import torch

from support.device_ops import Ops
from support.kernel_inputs import DTYPES, assert_close, randn
from vllm import _custom_ops
from vllm.kernels import moe

ops = Ops("_moe_C")


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(moe, "_ops", lambda: ops)


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
    assert block_experts.tolist() == owners + [-1] * (blocks - len(owners))


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


def aligned(ids, experts, block_size):
    """Choices in blocks of one expert each, as moe_align_block_size gives them, and one expert's blocks as nobody's."""
    capacity = ids.numel() + experts * (block_size - 1)
    sorted_ids = torch.empty(capacity, dtype=torch.int32)
    block_experts = torch.empty(-(-capacity // block_size), dtype=torch.int32)
    total = torch.empty(1, dtype=torch.int32)
    _custom_ops.moe_align_block_size(ids, experts, block_size, sorted_ids, block_experts, total)
    return sorted_ids, torch.where(block_experts == experts - 1, -1, block_experts).int(), total


def packed(codes, bits):
    """4-bit codes two a byte along the last axis, the lower first."""
    return codes if bits == 8 else codes[..., ::2] | codes[..., 1::2] << 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("tokens", "n", "k", "group_size", "block_size", "zeros", "weighted"),
    [(1, 64, 256, 128, 1, False, False), (9, 70, 96, 32, 16, True, True), (40, 34, 1152, 64, 48, True, False)],
)
def test_moe_wna16_gemm(dtype, bits, tokens, n, k, group_size, block_size, zeros, weighted):
    experts, top_k, groups = 5, 2, k // group_size
    x, scales = randn((tokens, k), dtype, 0), randn((experts, n, groups), dtype, 1, 0.05)
    codes = torch.randint(0, 2**bits, (experts, n, k), dtype=torch.uint8)
    zero = torch.randint(0, 2**bits, (experts, n, groups), dtype=torch.uint8)
    ids = expert_ids(tokens, top_k, experts, outside=True)
    weights = torch.rand(tokens, top_k)
    out = torch.full((tokens * top_k, n), 7, dtype=dtype)
    stored = packed(zero.transpose(1, 2), bits).transpose(1, 2).contiguous() if zeros else None
    arguments = (packed(codes, bits).contiguous(), scales, stored, weights if weighted else None)
    places = aligned(ids, experts, block_size)
    result = _custom_ops.moe_wna16_gemm(x, out, *arguments, *places, top_k, block_size, 64, 64, bits)
    assert result.data_ptr() == out.data_ptr()
    shift = zero.double() if zeros else torch.full(zero.shape, 2.0 ** (bits - 1), dtype=torch.float64)
    matrices = (codes.double() - shift.repeat_interleave(group_size, 2)) * scales.double().repeat_interleave(
        group_size, 2
    )
    flat = ids.flatten().long()
    expected = torch.einsum("ck,cnk->cn", x.double().repeat_interleave(top_k, 0), matrices[flat.clamp(0)])
    if weighted:
        expected *= weights.double().reshape(-1, 1)
    expected[(flat < 0) | (flat == experts - 1)] = 0
    assert_close(out, expected, terms=float(k) ** 0.5 * 2**bits * 0.05)


def moved(x):
    """The same values, two bytes on."""
    by = 2 // x.itemsize
    return torch.cat([x.new_zeros(by), x.flatten()])[by:].view(x.shape)


def test_moe_wna16_gemm_refusals():
    x, out, ints = (
        torch.zeros(2, 64, dtype=torch.bfloat16),
        torch.zeros(4, 8, dtype=torch.bfloat16),
        torch.zeros(4).int(),
    )
    codes, scales = torch.zeros(3, 8, 32, dtype=torch.uint8), torch.zeros(3, 8, 2, dtype=torch.bfloat16)

    def call(x=x, out=out, codes=codes, scales=scales, block=16, bits=4):
        ops.moe_wna16_gemm(x, out, codes, scales, None, None, ints, ints, ints[:1], 2, block, 64, 64, bits)

    call()
    with pytest.raises(RuntimeError, match="bit is 3, expected 4 or 8"):
        call(bits=3)
    with pytest.raises(RuntimeError, match="BLOCK_SIZE_M is 65, expected 1 to 64"):
        call(block=65)
    with pytest.raises(
        RuntimeError, match="has 4 groups of 64 columns of the input, expected groups of a multiple of 32"
    ):
        call(scales=torch.zeros(3, 8, 4, dtype=torch.bfloat16))
    with pytest.raises(RuntimeError, match=r"expected \[tokens \* top_k, n\] = \[4, 8\]"):
        call(out=out[:2])
    with pytest.raises(RuntimeError, match=r"experts, n, k \* bit / 8"):
        call(codes=codes[..., :16])
    with pytest.raises(RuntimeError, match="input does not start at a multiple of 16 bytes; copy it"):
        call(x=moved(x))
    for bits, wider in ((4, codes), (8, torch.zeros(3, 8, 64, dtype=torch.uint8))):
        with pytest.raises(RuntimeError, match=f"b_qweight does not start at a multiple of {bits} bytes; copy it"):
            call(codes=moved(wider), bits=bits)


def test_refusals():
    ids = expert_ids(4, 2, 8)
    ints = torch.empty(8, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="has 8 entries and experts_ids 8, expected room for 128 rows"):
        ops.moe_align_block_size(ids, 8, 16, ints, ints, ints[:1])
    with pytest.raises(RuntimeError, match="there are 2000 experts, expected 1 to 1024"):
        ops.topk_softmax(torch.empty(4, 2), ids, ids.clone(), torch.zeros(4, 2000))
