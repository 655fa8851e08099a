"""What benchmarks/gpu_kernels.py times: each op of this package on a GPU, beside torch's best and FlashInfer's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vllm.scalar_type import scalar_types

FP8 = torch.float8_e4m3fn
EPSILON = 1e-6
GROUP = 128  # columns that share a scale
NO_BLOCK_SPARSITY = (0, 0, 0, 64, 0)


@dataclass(frozen=True)
class Sizes:
    tokens: int = 8192
    hidden: int = 4096  # heads * head_size
    sequences: int = 64
    context: int = 4096
    heads: int = 32
    kv_heads: int = 8
    block_size: int = 16
    vocabulary: int = 128256
    experts: int = 64
    matrix: int = 8192  # rows and columns of weights
    batch: int = 16  # rows that meet weights of few bits

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


SMALL = Sizes(33, 256, 2, 40, 4, 2, 16, 300, 8, 256, 3)  # to try the rows


@dataclass(frozen=True)
class Row:
    op: str
    shape: str
    bytes_moved: int  # read and written once by an op that fuses everything
    ours: Callable[[], object]
    torch: Callable[[], object] | None = None
    flashinfer: Callable[[], object] | None = None
    operations: int = 0  # 0: memory is the limit at any rate
    peak: str = "bf16"  # whose rate limits the operations


class Bench:
    """Inputs on one device, ops of one source: `ops(namespace)` has them as functions."""

    def __init__(self, device: str, sizes: Sizes, ops: Callable[[str], Any]):
        self.device, self.sizes = device, sizes
        self.ops, self.cache_ops, self.moe_ops = ops("_C"), ops("_C_cache_ops"), ops("_moe_C")

    def randn(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.randn(shape, device=self.device).to(dtype)

    def empty(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)

    def codes(self, *shape: int) -> Tensor:
        """Words of random bits, i32."""
        return torch.randint(-(2**31), 2**31 - 1, shape, dtype=torch.int32, device=self.device)

    def ones(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.ones(shape, dtype=dtype, device=self.device)


def bytes_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.itemsize for tensor in tensors)


def norms_and_activations(b: Bench) -> Iterator[Row]:
    s, ops = b.sizes, b.ops
    shape = f"{s.tokens} x {s.hidden}"
    x, residual, out, weight = *(b.randn(s.tokens, s.hidden) for _ in range(3)), b.randn(s.hidden)
    gate_up = b.randn(s.tokens, 2 * s.hidden)
    gate, up = gate_up.chunk(2, -1)
    quantised, scale, scales = b.empty(s.tokens, s.hidden, dtype=FP8), b.ones(1), b.ones(s.tokens, 1)

    def add_and_norm() -> Tensor:
        return F.rms_norm(residual.add_(x), (s.hidden,), weight, EPSILON)

    yield Row(
        "rms_norm", shape, bytes_of(x, out), lambda: ops.rms_norm(out, x, weight, EPSILON),
        lambda: F.rms_norm(x, (s.hidden,), weight, EPSILON),
    )  # fmt: skip
    yield Row(
        "fused_add_rms_norm", shape, 2 * bytes_of(x, residual),
        lambda: ops.fused_add_rms_norm(x, residual, weight, EPSILON), add_and_norm,
    )  # fmt: skip
    yield Row(
        "rms_norm_dynamic_per_token_quant", shape, bytes_of(x, quantised),
        lambda: ops.rms_norm_dynamic_per_token_quant(quantised, x, weight, scales, EPSILON, None, None),
    )  # fmt: skip
    yield Row(
        "silu_and_mul", shape, bytes_of(gate_up, out), lambda: ops.silu_and_mul(out, gate_up),
        lambda: torch.mul(F.silu(gate), up, out=out),
    )  # fmt: skip
    yield Row(
        "gelu_tanh_and_mul", shape, bytes_of(gate_up, out), lambda: ops.gelu_tanh_and_mul(out, gate_up),
        lambda: torch.mul(F.gelu(gate, approximate="tanh"), up, out=out),
    )  # fmt: skip
    yield Row(
        "silu_and_mul_quant", shape, bytes_of(gate_up, quantised),
        lambda: ops.silu_and_mul_quant(quantised, gate_up, scale),
    )  # fmt: skip


def quantisers(b: Bench) -> Iterator[Row]:
    s, ops = b.sizes, b.ops
    shape = f"{s.tokens} x {s.hidden}"
    x, scale, scales = b.randn(s.tokens, s.hidden), b.ones(1), b.ones(s.tokens, 1)
    fp8, int8 = b.empty(s.tokens, s.hidden, dtype=FP8), b.empty(s.tokens, s.hidden, dtype=torch.int8)
    group_scales, moved = b.ones(s.tokens, s.hidden // GROUP), bytes_of(x, fp8)
    limits = torch.finfo(FP8)
    yield Row(
        "static_scaled_fp8_quant", shape, moved, lambda: ops.static_scaled_fp8_quant(fp8, x, scale),
        lambda: (x / scale).clamp(limits.min, limits.max).to(FP8),
    )  # fmt: skip
    yield Row(
        "dynamic_scaled_fp8_quant", shape, moved + bytes_of(x),
        lambda: ops.dynamic_scaled_fp8_quant(fp8, x, scale),
    )  # fmt: skip
    yield Row(
        "dynamic_per_token_scaled_fp8_quant", shape, moved,
        lambda: ops.dynamic_per_token_scaled_fp8_quant(fp8, x, scales, None),
    )  # fmt: skip
    yield Row(
        "per_token_group_fp8_quant", shape, moved,
        lambda: ops.per_token_group_fp8_quant(x, fp8, group_scales, GROUP, 1e-10, limits.min, limits.max, False),
    )  # fmt: skip
    yield Row("dynamic_scaled_int8_quant", shape, moved, lambda: ops.dynamic_scaled_int8_quant(int8, x, scales, None))


def rotation_and_cache(b: Bench) -> Iterator[Row]:
    s = b.sizes
    blocks = -(-s.tokens // s.block_size)
    query = b.randn(s.tokens, s.hidden)
    key, value = (b.randn(s.tokens, s.kv_heads, s.head_size) for _ in range(2))
    positions = torch.arange(s.tokens, device=b.device)
    slots = torch.randperm(blocks * s.block_size, device=b.device)[: s.tokens]
    table, one = b.randn(s.tokens, s.head_size), b.ones(1)
    flash = b.empty(2, blocks, s.block_size, s.kv_heads, s.head_size)
    lanes = 16 // key.itemsize
    classic_keys = b.empty(blocks, s.kv_heads, s.head_size // lanes, s.block_size, lanes)
    classic_values = b.empty(blocks, s.kv_heads, s.head_size, s.block_size)
    rows, stored = flash.flatten(1, 2), 2 * bytes_of(key, value)

    def store() -> None:
        rows[0][slots] = key
        rows[1][slots] = value

    shape = f"{s.tokens} tokens, {s.heads} / {s.kv_heads} heads of {s.head_size}"
    yield Row(
        "rotary_embedding", shape, 2 * bytes_of(query, key) + bytes_of(table),
        lambda: b.ops.rotary_embedding(positions, query, key.flatten(1), s.head_size, table, True),
    )  # fmt: skip
    yield Row(
        "reshape_and_cache_flash", shape, stored,
        lambda: b.cache_ops.reshape_and_cache_flash(key, value, *flash, slots, "auto", one, one), store,
    )  # fmt: skip
    yield Row(
        "reshape_and_cache", shape, stored,
        lambda: b.cache_ops.reshape_and_cache(key, value, classic_keys, classic_values, slots, "auto", one, one),
    )  # fmt: skip


def attention(b: Bench) -> Iterator[Row]:
    """One token of each sequence over its whole context."""
    s, ops = b.sizes, b.ops
    blocks_each = -(-s.context // s.block_size)
    blocks = s.sequences * blocks_each
    query, out = (b.randn(s.sequences, s.heads, s.head_size) for _ in range(2))
    table = torch.randperm(blocks, device=b.device).to(torch.int32).view(s.sequences, blocks_each)
    lengths = torch.full((s.sequences,), s.context, dtype=torch.int32, device=b.device)
    starts = torch.arange(s.sequences + 1, dtype=torch.int32, device=b.device)
    lanes, one, scale = 16 // query.itemsize, b.ones(1), s.head_size**-0.5
    keys = b.randn(blocks, s.kv_heads, s.head_size // lanes, s.block_size, lanes)
    values = b.randn(blocks, s.kv_heads, s.head_size, s.block_size)
    flash = b.randn(2, blocks, s.block_size, s.kv_heads, s.head_size)
    dense = b.randn(2, s.sequences, s.kv_heads, s.context, s.head_size)
    partitions = -(-s.context // 512)
    sums, maxima = (b.empty(s.sequences, s.heads, partitions, dtype=torch.float32) for _ in range(2))
    parts = b.empty(s.sequences, s.heads, partitions, s.head_size)
    rest = (s.kv_heads, scale, table, lengths, s.block_size, s.context, None, "auto", one, one, *NO_BLOCK_SPARSITY)
    moved = bytes_of(query, out) + 2 * s.sequences * s.context * s.kv_heads * s.head_size * query.itemsize
    shape = f"{s.sequences} x {s.context}, {s.heads} / {s.kv_heads} heads of {s.head_size}"

    def in_torch() -> Tensor:
        return F.scaled_dot_product_attention(query.unsqueeze(2), *dense, scale=scale, enable_gqa=True)

    other = flashinfer_decode(b, query, flash, table, lengths)
    yield Row(
        "paged_attention_v1", shape, moved, lambda: ops.paged_attention_v1(out, query, keys, values, *rest), in_torch,
        other,
    )  # fmt: skip
    yield Row(
        "paged_attention_v2", shape, moved,
        lambda: ops.paged_attention_v2(out, sums, maxima, parts, query, keys, values, *rest), in_torch, other,
    )  # fmt: skip
    yield Row(
        "paged_attention_varlen", shape, moved,
        lambda: ops.paged_attention_varlen(out, query, *flash, starts, lengths, table, scale, 0, 0.0, None, None),
        in_torch, other,
    )  # fmt: skip


def flashinfer_decode(
    b: Bench, query: Tensor, caches: Tensor, table: Tensor, lengths: Tensor
) -> Callable[[], object] | None:
    """FlashInfer's decode attention, where its own package is installed."""
    try:
        from flashinfer import BatchDecodeWithPagedKVCacheWrapper
    except ImportError:
        return None
    s = b.sizes
    wrapper = BatchDecodeWithPagedKVCacheWrapper(b.empty(128 << 20, dtype=torch.uint8), "NHD")
    starts = torch.arange(s.sequences + 1, dtype=torch.int32, device=b.device) * table.shape[1]
    last = (lengths - 1) % s.block_size + 1
    wrapper.plan(
        starts, table.flatten(), last, s.heads, s.kv_heads, s.head_size, s.block_size, q_data_type=query.dtype,
        kv_data_type=query.dtype,
    )  # fmt: skip
    return lambda: wrapper.run(query, tuple(caches))


def codes_of_few_bits(b: Bench) -> Iterator[Row]:
    s, ops = b.sizes, b.ops
    n = s.matrix
    a, dense = b.randn(s.batch, n, dtype=torch.float16), b.randn(n, n, dtype=torch.float16)
    none, groups = b.empty(0, dtype=torch.int32), n // GROUP
    words, scales = b.codes(n // 8, n), b.randn(groups, n, dtype=torch.float16)
    zeros, awq_words = b.codes(groups, n // 8), b.codes(n, n // 8)
    marlin, workspace = ops.gptq_marlin_repack(words, none, n, n, 4, False), b.empty(n, dtype=torch.int32)
    moved, operations = bytes_of(a, words, scales) + a.numel() * a.itemsize, 2 * s.batch * n * n
    shape = f"{s.batch} x {n} x {n}, 4 bits"
    kind = scalar_types.uint4b8.id

    def in_torch() -> Tensor:
        return a @ dense

    yield Row(
        "marlin_gemm", shape, moved,
        lambda: ops.marlin_gemm(
            a, None, marlin, None, scales, None, None, None, None, None, workspace, kind, s.batch, n, n, True, False,
            True, False,
        ),
        in_torch, operations=operations,
    )  # fmt: skip
    yield Row(
        "gptq_gemm", shape, moved, lambda: ops.gptq_gemm(a, words, zeros, scales, none, True, False, 4), in_torch,
        operations=operations,
    )  # fmt: skip
    yield Row(
        "awq_gemm", shape, moved, lambda: ops.awq_gemm(a, awq_words, scales, zeros, 8), in_torch,
        operations=operations,
    )  # fmt: skip


def scaled_products(b: Bench) -> Iterator[Row]:
    ops, n = b.ops, b.sizes.matrix
    out, one, shape = b.empty(n, n), b.ones(1), f"{n} x {n} x {n}"
    left, right = (b.randn(n, n, dtype=FP8) for _ in range(2))
    yield Row(
        "cutlass_scaled_mm, e4m3", shape, bytes_of(left, right, out),
        lambda: ops.cutlass_scaled_mm(out, left, right.t(), one, one, None),
        lambda: torch._scaled_mm(left, right.t(), one, one, out_dtype=torch.bfloat16),
        operations=2 * n**3, peak="fp8",
    )  # fmt: skip
    values, places = ops.cutlass_sparse_compress(right)
    yield Row(
        "cutlass_scaled_sparse_mm, e4m3", shape, bytes_of(left, values, places, out),
        lambda: ops.cutlass_scaled_sparse_mm(out, left, values, places, one, one, None),
        operations=2 * n**3, peak="fp8",
    )  # fmt: skip
    ints, weight = (torch.randint(-128, 128, (n, n), device=b.device).to(torch.int8) for _ in range(2))
    yield Row(
        "cutlass_scaled_mm, int8", shape, bytes_of(ints, weight, out),
        lambda: ops.cutlass_scaled_mm(out, ints, weight.t(), one, one, None),
        lambda: torch._int_mm(ints, weight.t()), operations=2 * n**3, peak="int8",
    )  # fmt: skip


def sampling_and_routing(b: Bench) -> Iterator[Row]:
    s = b.sizes
    logits = b.randn(s.sequences, s.vocabulary, dtype=torch.float32)
    seen, penalties = b.ones(s.sequences, s.vocabulary, dtype=torch.bool), b.ones(s.sequences)
    gating, top = b.randn(s.tokens, s.experts, dtype=torch.float32), min(8, s.experts)
    weights = b.empty(s.tokens, top, dtype=torch.float32)
    indices, sources = (b.empty(s.tokens, top, dtype=torch.int32) for _ in range(2))
    yield Row(
        "apply_repetition_penalties_", f"{s.sequences} x {s.vocabulary}", 2 * bytes_of(logits, seen),
        lambda: b.ops.apply_repetition_penalties_(logits, seen, seen, penalties),
    )  # fmt: skip
    yield Row(
        "topk_softmax", f"{s.tokens} x {s.experts}, {top}", bytes_of(gating, weights, indices, sources),
        lambda: b.moe_ops.topk_softmax(weights, indices, sources, gating),
        lambda: torch.topk(torch.softmax(gating, -1), top),
    )  # fmt: skip


FAMILIES = (
    norms_and_activations, quantisers, rotation_and_cache, attention, codes_of_few_bits, scaled_products,
    sampling_and_routing,
)  # fmt: skip
