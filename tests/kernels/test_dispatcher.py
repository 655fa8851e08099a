"""Every op as torch's dispatcher sees it: schema, mutation, fake tensors, compilation."""

import pytest
import torch

from vllm.kernels import activation, cache, merge_states, norm, qkv, rotary, sampling

C, CACHE = torch.ops._C, torch.ops._C_cache_ops
X, W, HALF = torch.rand(4, 32), torch.rand(32), torch.rand(4, 16)
POSITIONS, TABLE, SLOTS, ONE = torch.arange(4), torch.rand(8, 16), torch.tensor([3, -1, 0, 7]), torch.ones(1)
KEY, CACHES = torch.rand(4, 2, 16), torch.rand(2, 4, 8, 2, 16)
LSE, LOGITS, MASK, ROW = torch.rand(2, 4), torch.rand(4, 50), torch.rand(4, 50) > 0.5, torch.rand(4)


def ints(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


CALLS = [
    (C.rms_norm, (torch.empty_like(X), X, W, 1e-6)),
    (C.rms_norm, (torch.empty_like(X), X, None, 1e-6)),
    (C.fused_add_rms_norm, (X.clone(), X.clone(), W, 1e-6)),
    *((op, (HALF.clone(), X)) for op in (C.silu_and_mul, C.mul_and_silu, C.gelu_and_mul, C.gelu_tanh_and_mul)),
    (C.fatrelu_and_mul, (HALF.clone(), X, 0.5)),
    (C.swigluoai_and_mul, (HALF.clone(), X, 1.702, 7.0)),
    *((op, (torch.empty_like(X), X)) for op in (C.gelu_new, C.gelu_fast, C.gelu_quick)),
    (C.rotary_embedding, (POSITIONS, X.clone(), HALF.clone(), 16, TABLE, True)),
    (C.rotary_embedding, (POSITIONS, X.clone(), None, 16, TABLE, False)),
    (C.rotary_embedding, (POSITIONS, X.clone(), None, 16, TABLE[:, :8].contiguous(), False, 4, True)),
    (
        C.qkv_norm_rope_cache,
        (torch.rand(4, 96), POSITIONS, TABLE, W[:16], W[16:], 1e-6, 2, 2, 16, True, *CACHES.clone(), SLOTS),
    ),
    (C.merge_attn_states, (torch.empty(4, 2, 16), torch.empty(2, 4), KEY, LSE, KEY, LSE)),
    (C.apply_repetition_penalties_, (LOGITS.clone(), MASK, ~MASK, ROW)),
    (C.apply_penalties_, (LOGITS.clone(), ints(0, 1, 2, 2, 3), ints(7, 0, 49), ints(1, 0, 2), ROW, ROW, ROW)),
    (C.sample_tokens, (LOGITS, ROW, ints(0, 1, 2, 3), ROW, ROW, ROW)),
    (CACHE.reshape_and_cache_flash, (KEY, KEY, *CACHES.clone(), SLOTS, "auto", ONE, ONE)),
    (
        CACHE.reshape_and_cache,
        (KEY, KEY, torch.rand(4, 2, 4, 8, 4), torch.rand(4, 2, 16, 8), SLOTS, "auto", ONE, ONE),
    ),
    (CACHE.concat_and_cache_mla, (X, HALF, torch.rand(4, 8, 48), SLOTS, "auto", ONE)),
    (CACHE.swap_blocks, (X, X.clone(), 128, torch.tensor([[0, 1]]))),
]


@pytest.mark.parametrize(("op", "arguments"), CALLS, ids=lambda value: getattr(value, "__name__", None))
def test_opcheck(op, arguments):
    torch.library.opcheck(op.default, arguments)


def test_compiles_without_graph_breaks():
    def layer(x, residual, positions):
        norm.fused_add_rms_norm(x, residual, W, 1e-6)
        rotary.rotary_embedding(positions, x, None, 16, TABLE)
        out = torch.empty_like(HALF)
        activation.silu_and_mul(out, x)
        return out

    arguments = [X.clone(), X.clone(), POSITIONS]
    expected = layer(*(x.clone() for x in arguments))
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*arguments), expected)


def test_wrappers_are_the_ops():
    """The modules' functions take the ops' arguments; opcheck above covers the rest."""
    out = torch.empty_like(KEY)
    merge_states.merge_attn_states(out, KEY, LSE, KEY, LSE)
    torch.testing.assert_close(out, KEY)
    caches = torch.zeros_like(CACHES)
    cache.reshape_and_cache_flash(KEY, KEY, *caches, SLOTS, "auto", ONE, ONE)
    assert torch.equal(caches[0, 0, 3], KEY[0])
    projection = torch.rand(4, 96)
    qkv.qkv_norm_rope_cache(projection, POSITIONS, None, None, None, 1e-6, 2, 2, 16, True, *caches, SLOTS)
    assert torch.equal(caches[1, 0, 0].flatten(), projection[2, 64:])
    assert sampling.sample_tokens(LOGITS, ROW * 0, ints(0, 0, 0, 0), ROW, ROW, ROW).shape == (4,)
