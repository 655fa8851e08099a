"""paged_attention_v1 and _v2: decode over the cache layout that splits keys into vectors of 16 bytes."""

import pytest
import torch

from support.attention_case import AttentionCase
from support.kernel_inputs import DTYPES
from vllm.kernels import attention  # noqa: F401  (registers the ops)

ONE = torch.ones(1)


def classic_caches(case: AttentionCase) -> tuple[torch.Tensor, torch.Tensor]:
    """[blocks, kv_heads, head_size / x, block_size, x] and [blocks, kv_heads, head_size, block_size]."""
    x = 16 // case.dtype.itemsize
    key = case.key_cache.unflatten(-1, (-1, x)).permute(0, 2, 3, 1, 4)
    return key.contiguous(), case.value_cache.permute(0, 2, 3, 1).contiguous()


def run(version: int, case: AttentionCase, cache_dtype: str = "auto", vert_stride: int = 0) -> torch.Tensor:
    out = torch.empty(case.query.shape, dtype=case.dtype)
    workspace = (torch.empty(1),) * 3 if version == 2 else ()
    getattr(torch.ops._C, f"paged_attention_v{version}").default(
        out, *workspace, case.query, *classic_caches(case), case.kv_heads, case.scale, case.block_table, case.seq_lens,
        case.block_size, int(case.seq_lens.max()), case.slopes, cache_dtype, ONE, ONE, 0, 0, vert_stride, 0, 0,
    )  # fmt: skip
    return out


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("head_size", "block_size"), [(64, 16), (80, 32), (128, 8), (256, 16)])
@pytest.mark.parametrize("alibi", [False, True])
def test_same_as_the_row_layout(version, dtype, head_size, block_size, alibi):
    case = AttentionCase(
        ((1, 1), (77, 1), (600, 1)), dtype, heads=6, head_size=head_size, block_size=block_size, alibi=alibi
    )
    assert torch.equal(run(version, case), case.run()[0])


def test_empty_sequence_gives_zeros():
    case = AttentionCase(((5, 1), (5, 1)))
    case.seq_lens[1] = 0
    assert run(1, case)[1].count_nonzero() == 0


@pytest.mark.parametrize("version", [1, 2])
def test_refusals(version):
    case, name = AttentionCase(((5, 1),)), f"paged_attention_v{version}"
    with pytest.raises(RuntimeError, match=f"{name}: key_cache comes with kv_cache_dtype 'fp8', expected 'auto'"):
        run(version, case, "fp8")
    with pytest.raises(RuntimeError, match=f"{name}: query comes with blocksparse_vert_stride 8, expected 0 or 1"):
        run(version, case, vert_stride=8)
