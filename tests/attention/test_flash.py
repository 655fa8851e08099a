"""FLASH_ATTN, over what torch's documentation says of its op: no CPU has it."""

import math

import pytest
import torch
from torch import Tensor

from support.attention_case import AttentionCase
from support.greedy_case import GreedyCase
from support.kernel_inputs import assert_close
from support.steps import STEPS, step_of
from vllm.attention import flash, registry, sdpa
from vllm.attention.cache_format import CacheFormat
from vllm.attention.paged import AttentionShape, PagedAttention
from vllm.profiling.model_parts import model_of

CPU = torch.device("cpu")


def varlen_attn_out(
    out: Tensor, query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int,
    *, scale: float, window_size: tuple[int, int], enable_gqa: bool, seqused_k: Tensor, block_table: Tensor,
    num_splits: int,
) -> None:  # fmt: skip
    """torch.nn.attention.varlen's, for pages; what flash attention 2 demands of them is asserted."""
    assert key.shape[1] % 256 == 0 and num_splits == 1 and query.stride(-1) == out.stride(-1) == 1
    assert cu_seq_q.dtype == cu_seq_k.dtype == seqused_k.dtype == block_table.dtype == torch.int32
    assert len(cu_seq_q) == len(cu_seq_k) == len(seqused_k) + 1 == len(block_table) + 1
    assert enable_gqa or query.shape[1] == key.shape[2]
    left, right = window_size
    for i, length in enumerate(seqused_k.tolist()):
        tokens = slice(int(cu_seq_q[i]), int(cu_seq_q[i + 1]))
        q = query[tokens].transpose(0, 1).float()
        count = q.shape[1]
        assert count <= max_q and length <= max_k <= block_table.shape[1] * key.shape[1]
        pages = block_table[i, : math.ceil(length / key.shape[1])].long()
        k, v = (x[pages].flatten(0, 1)[:length].transpose(0, 1).float() for x in (key, value))
        k, v = (x.repeat_interleave(len(q) // len(x), 0) for x in (k, v))
        # The last query sees the last key.
        past = torch.arange(length - count, length)[:, None] - torch.arange(length)
        seen = (past >= -right) & ((past <= left) if left >= 0 else torch.tensor(True))
        logits = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, -math.inf)
        out[tokens] = (logits.softmax(-1) @ v).transpose(0, 1).to(out.dtype)


@pytest.fixture
def op(monkeypatch):
    monkeypatch.setattr(flash, "varlen_attn_out", varlen_attn_out)
    flash._agrees.cache_clear()
    yield monkeypatch
    flash._agrees.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [0, 12, 300])
@pytest.mark.parametrize("heads", [(4, 2), (3, 3), (6, 1)], ids=str)
@pytest.mark.parametrize("sequences", [*STEPS.values(), ((700, 1), (257, 257), (512, 3))], ids=[*STEPS, "long"])
def test_against_the_definition(op, sequences, heads, window, dtype):
    case = AttentionCase(sequences, dtype, *heads, head_size=32, block_size=256, sliding_window=window)
    keys, values = (cache.contiguous().nan_to_num() for cache in (case.key_cache, case.value_cache))
    out, step = torch.full((*case.query.shape,), 7.0).to(dtype), step_of(case)
    for _ in range(2):  # the second layer finds the first one's plan
        flash.attend(out, case.query, keys, values, step, case.scale, window)
        assert_close(out, case.expected()[0], terms=4.0)


def chosen(window: int = 0) -> object:
    attention = PagedAttention(AttentionShape(4, 2, 64, window))
    return flash.allocate(attention, 3, 256, CacheFormat.of("auto", torch.bfloat16), CPU).attend


def test_it_is_used_where_it_agrees(op, caplog):
    assert chosen() is chosen(40) is flash.attend
    assert not caplog.records


def unmasked(*arguments, window_size, **options) -> None:
    varlen_attn_out(*arguments, window_size=(-1, -1), **options)


def unwritten(out: Tensor, *arguments, **options) -> None:
    out.fill_(math.nan)


def missing(*arguments, **options) -> None:
    raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.\nMore of it")


@pytest.mark.parametrize(
    ("broken", "problem"),
    [(unmasked, "differs by"), (unwritten, "differs by nan"), (missing, "FlashAttention only supports Ampere")],
)
def test_it_is_left_where_it_does_not(op, broken, problem, caplog):
    op.setattr(flash, "varlen_attn_out", broken)
    assert chosen() is chosen() is sdpa.attend
    (record,) = caplog.records
    assert "torch's flash attention is not used, TORCH_SDPA is: " in record.message
    assert problem in record.message and "\n" not in record.message


def test_this_machine_has_none():
    """The real op: the CPU has no such kernel."""
    flash._agrees.cache_clear()
    assert chosen() is sdpa.attend


@pytest.mark.parametrize(("kind", "kernels"), [("qwen3", "cuda_graphs"), ("mistral", "")])
def test_transformers_tokens(op, kind, kernels, tmp_path):
    """Heads of their own size and padded steps; a sliding window. In TORCH_SDPA's place, as the CPU is refused it."""
    op.setitem(registry._MODULES, "TORCH_SDPA", flash.__name__)
    op.setenv("VLLM_DEVICE_KERNELS", kernels)
    case = GreedyCase(kind, tmp_path, count=8, num_tokens=40, attention_backend="TORCH_SDPA")
    llm = case.llm(block_size=256, max_num_seqs=6, max_num_batched_tokens=70)
    assert {attention._attend for attention in model_of(llm.llm_engine).attentions} == {flash.attend}
    assert case.answers(llm) == case.expected
