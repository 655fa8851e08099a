"""Each op on the device, torch's and this package's, against the CPU's kernels."""

import pytest
import torch

from support.attention_case import AttentionCase
from support.kernel_inputs import RTOL, randn
from support.kernel_reference import cos_sin_cache
from vllm.attention import packed, sdpa
from vllm.attention.step_input import StepInput
from vllm.kernels.op_set import DEVICE_CHOICES, native_ops, torch_ops
from vllm.kernels.qkv import qkv_norm_rope_cache
from vllm.kernels.torch_ops import qkv as torch_qkv

NATIVE = native_ops()
OWN = [name for name in DEVICE_CHOICES if hasattr(NATIVE, name)]
DTYPES = [torch.bfloat16, torch.float16, torch.float32]


def results(ops, name: str, device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """What op `name` of the set makes of the same inputs on any device."""
    x, weight = randn((33, 512), dtype, 1).to(device), randn((96, 512), dtype, 2, 0.05).to(device)
    ones = randn((512,), dtype, 3).to(device)
    if name == "rms_norm":
        out = torch.empty_like(x)
        ops.rms_norm(out, x, ones, 1e-6)
        return [out]
    if name == "fused_add_rms_norm":
        residual = x.flip(0).contiguous()
        ops.fused_add_rms_norm(x, residual, ones, 1e-6)
        return [x, residual]
    if name == "silu_and_mul":
        out = x.new_empty(33, 256)
        ops.silu_and_mul(out, x)
        return [out]
    packed_weight = ops.pack_linear_weight(weight)
    if name == "linear_packed":
        out, logits, bias = x.new_empty(33, 96), x.new_empty(33, 96, dtype=torch.float32), ones[:96]
        ops.linear_packed(out, x, packed_weight, bias)
        ops.linear_packed(logits, x, packed_weight)
        return [out, logits]
    if name == "linear_packed_silu_and_mul":
        out = x.new_empty(33, 48)
        ops.linear_packed_silu_and_mul(out, x, ops.pack_gate_up_weight(weight))
        return [out]
    out = x.new_empty(3, 512)
    ops.gather_packed_rows(out, packed_weight, torch.tensor([95, 0, 7], device=device))
    return [out]


TORCH_NAMES = [*OWN, "linear_packed", "linear_packed_silu_and_mul", "gather_packed_rows"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("source", "name"), [("torch", n) for n in TORCH_NAMES] + [("own", n) for n in OWN])
def test_layers(device, proof, source, name, dtype):
    ops = torch_ops(frozenset({name})) if source == "own" else torch_ops()
    for actual, expected in zip(
        results(ops, name, device, dtype), results(NATIVE, name, "cpu", dtype), strict=True
    ):  # fmt: skip
        proof(f"{name} ({source})", actual, expected, 8 * RTOL[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_precedes_attention(device, proof, dtype):
    qkv, table = randn((40, 6 * 64), dtype, 1), cos_sin_cache(64, 100)
    positions, slots, weights = torch.arange(40) + 7, torch.randperm(48)[:40], randn((2, 64), dtype, 2)
    caches = torch.zeros(2, 3, 16, 1, 64, dtype=dtype)
    moved, there = qkv.to(device), caches.to(device)
    arguments = (positions, table, *weights)
    qkv_norm_rope_cache(qkv, *arguments, 1e-6, 4, 1, 64, True, *caches, slots)
    on_device = (x.to(device) for x in arguments)
    torch_qkv.qkv_norm_rope_cache(moved, *on_device, 1e-6, 4, 1, 64, True, *there, slots.to(device))
    proof("qkv_norm_rope_cache (torch)", moved, qkv, 8 * RTOL[dtype])
    proof("qkv_norm_rope_cache (torch)", there, caches, 8 * RTOL[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("window", [0, 40])
@pytest.mark.parametrize("sequences", [((333, 1), (5, 1), (128, 1)), ((90, 30), (64, 1), (200, 200), (31, 1))])
@pytest.mark.parametrize("source", ["torch", "own"])
def test_attention(device, proof, source, sequences, window, dtype):
    if source == "own" and dtype == torch.float32 and device != "cpu":
        pytest.skip("paged_attention_varlen is for bf16 and f16 on GPUs")
    case = AttentionCase(sequences, dtype, heads=8, kv_heads=2, head_size=128, sliding_window=window)
    caches = [cache.contiguous().nan_to_num().to(device) for cache in (case.key_cache, case.value_cache)]
    counts, starts = [n for _, n in sequences], [length - n for length, n in sequences]
    placed = [x.to(device) for x in (case.query_start_loc, case.seq_lens, case.block_table)]
    none = torch.empty(0)
    step = StepInput(torch.zeros(sum(counts), device=device), none, none, *placed, None, counts, starts)
    query = case.query.to(device)
    out = torch.empty_like(query)
    attend = sdpa.attend if source == "torch" else packed.attend
    attend(out, query, *caches, step, case.scale, window)
    proof(f"paged_attention_varlen ({source})", out, case.expected()[0], 8 * RTOL[dtype])


def test_sampling(device, proof):
    """Where two draws differ, the numbers lay within rounding of the border between two tokens."""
    rows, vocabulary = 64, 5000
    logits = randn((rows, vocabulary), torch.float32, 5, 3.0)
    parameters = (
        torch.linspace(0, 2, rows), (torch.arange(rows) % 7 * 20).int(), torch.linspace(0.2, 1, rows),
        torch.zeros(rows), torch.rand(rows, generator=torch.Generator().manual_seed(1)),
    )  # fmt: skip
    expected = NATIVE.sample_tokens(logits, *parameters)
    actual = torch_ops().sample_tokens(logits.to(device), *parameters)
    differing = (actual.cpu() != expected).double().mean().reshape(1)
    proof("sample_tokens (torch), share of draws that differ", differing, torch.zeros(1), 0.05)


def test_penalties(device, proof):
    offsets, ids = torch.tensor([0, 3, 4], dtype=torch.int32), torch.tensor([1, 5, 9, 0], dtype=torch.int32)
    counts, numbers = torch.tensor([2, 0, 1, 3], dtype=torch.int32), torch.tensor([[1.5, 2.0], [0.3, 0.1], [0.2, 0.7]])
    expected = randn((2, 12), torch.float32, 6)
    actual = expected.to(device, copy=True)
    NATIVE.apply_penalties(expected, offsets, ids, counts, *numbers)
    torch_ops().apply_penalties(actual, offsets, ids, counts, *numbers)
    proof("apply_penalties (torch)", actual, expected, 1e-5)
