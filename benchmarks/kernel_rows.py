"""What benchmarks/kernels.py times: each op of this package beside the fastest way to say it in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vllm.kernels import activation, cache, linear, merge_states, norm, qkv, rotary, sampling, screened_head

TOKENS = (1, 16, 512)
HIDDEN = (576, 896, 4096)
HEAD_SIZE, BLOCK_SIZE, VOCABULARY = 64, 32, 151936
OUTPUT_HEADS = ((49152, 576), (VOCABULARY, 896))


@dataclass(frozen=True)
class Row:
    op: str
    shape: str
    dtype: torch.dtype
    bytes_moved: int  # read and written once by an op that fuses everything
    ours: Callable[[], object]
    torch: Callable[[], object]


def bytes_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.itemsize for tensor in tensors)


def norms(tokens: int, hidden: int, dtype: torch.dtype) -> Iterator[Row]:
    x, residual = torch.randn(2, tokens, hidden).to(dtype)
    weight, out, shape = torch.randn(hidden).to(dtype), torch.empty_like(x), f"{tokens}x{hidden}"

    def fused_torch() -> Tensor:
        residual.add_(x)
        return F.rms_norm(residual, (hidden,), weight, 1e-6)

    yield Row(
        "rms_norm", shape, dtype, bytes_of(x, out, weight),
        lambda: norm.rms_norm(out, x, weight, 1e-6), lambda: F.rms_norm(x, (hidden,), weight, 1e-6),
    )  # fmt: skip
    yield Row(
        "fused_add_rms_norm", shape, dtype, 2 * bytes_of(x, residual) + bytes_of(weight),
        lambda: norm.fused_add_rms_norm(x, residual, weight, 1e-6), fused_torch,
    )  # fmt: skip


def activations(tokens: int, hidden: int, dtype: torch.dtype) -> Iterator[Row]:
    x = torch.randn(tokens, 2 * hidden).to(dtype)
    out, shape = torch.empty(tokens, hidden, dtype=dtype), f"{tokens}x{hidden}"
    gate, up = x[:, :hidden], x[:, hidden:]
    gated: dict[str, Callable[[Tensor], Tensor]] = {
        "silu_and_mul": F.silu,
        "gelu_and_mul": F.gelu,
        "gelu_tanh_and_mul": lambda g: F.gelu(g, approximate="tanh"),
    }
    for name, function in gated.items():
        op = getattr(activation, name)
        yield Row(
            name, shape, dtype, bytes_of(x, out),
            lambda op=op: op(out, x), lambda f=function: torch.mul(f(gate), up, out=out),
        )  # fmt: skip
    single = gate.contiguous()
    yield Row(
        "gelu_new", shape, dtype, 2 * bytes_of(out),
        lambda: activation.gelu_new(out, single), lambda: F.gelu(single, approximate="tanh"),
    )  # fmt: skip
    yield Row(
        "gelu_quick", shape, dtype, 2 * bytes_of(out),
        lambda: activation.gelu_quick(out, single), lambda: single * torch.sigmoid(1.702 * single),
    )  # fmt: skip


def heads(tokens: int, hidden: int, dtype: torch.dtype) -> Iterator[Row]:
    """A projection of `hidden` query elements, a quarter as many keys and values."""
    q_heads, shape = hidden // HEAD_SIZE, f"{tokens}x{hidden}"
    kv_heads = max(1, q_heads // 4)
    split = [q_heads, kv_heads, kv_heads]
    projection = torch.randn(tokens, sum(split) * HEAD_SIZE).to(dtype)
    query, key, value = projection.unflatten(-1, (-1, HEAD_SIZE)).split(split, 1)
    positions, table = torch.arange(tokens), torch.randn(tokens, HEAD_SIZE)
    weight = torch.randn(HEAD_SIZE).to(dtype)
    blocks = -(-tokens // BLOCK_SIZE)
    caches = torch.zeros(2, blocks, kv_heads, BLOCK_SIZE, HEAD_SIZE, dtype=dtype).transpose(2, 3)
    rows, slots, one = caches.transpose(2, 3), torch.randperm(blocks * BLOCK_SIZE)[:tokens], torch.ones(1)
    block, offset = slots // BLOCK_SIZE, slots % BLOCK_SIZE

    def rotated(x: Tensor) -> Tensor:
        cos, sin = (part.to(dtype).unsqueeze(1) for part in table[positions].chunk(2, -1))
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def rotary_torch() -> None:
        query.copy_(rotated(query))
        key.copy_(rotated(key))

    def store_torch(k: Tensor, v: Tensor) -> None:
        rows[0][block, :, offset] = k
        rows[1][block, :, offset] = v

    def all_torch() -> None:
        query.copy_(rotated(F.rms_norm(query, (HEAD_SIZE,), weight, 1e-6)))
        store_torch(rotated(F.rms_norm(key, (HEAD_SIZE,), weight, 1e-6)), value)

    rotated_bytes, stored_bytes = 2 * bytes_of(query, key), 2 * bytes_of(key, value)
    yield Row(
        "rotary_embedding", shape, dtype, rotated_bytes,
        lambda: rotary.rotary_embedding(positions, query, key, HEAD_SIZE, table), rotary_torch,
    )  # fmt: skip
    yield Row(
        "reshape_and_cache_flash", shape, dtype, stored_bytes,
        lambda: cache.reshape_and_cache_flash(key, value, *caches, slots, "auto", one, one),
        lambda: store_torch(key, value),
    )  # fmt: skip
    yield Row(
        "qkv_norm_rope_cache", shape, dtype, 2 * bytes_of(query, key, value),
        lambda: qkv.qkv_norm_rope_cache(
            projection, positions, table, weight, weight, 1e-6, q_heads, kv_heads, HEAD_SIZE, True, *caches, slots
        ),
        all_torch,
    )  # fmt: skip
    parts, out = torch.randn(2, tokens, q_heads, HEAD_SIZE).to(dtype), torch.empty_like(query)
    lses = torch.randn(2, q_heads, tokens)

    def merge_torch() -> Tensor:
        a, b = torch.softmax(lses, 0).transpose(1, 2).unsqueeze(-1).to(dtype)
        return torch.addcmul(parts[0] * a, parts[1], b)

    yield Row(
        "merge_attn_states", shape, dtype, bytes_of(parts, out),
        lambda: merge_states.merge_attn_states(out, parts[0], lses[0], parts[1], lses[1]), merge_torch,
    )  # fmt: skip


def filtered(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Top-k, then top-p, then softmax."""
    if top_k:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -float("inf"))
    if top_p < 1:
        ordered, order = logits.sort(-1)
        dropped = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -float("inf"))
    return logits.softmax(-1)


def choices(rows: int) -> Iterator[Row]:
    logits, ones, shape = torch.randn(rows, VOCABULARY) * 3, torch.ones(rows), f"{rows}x{VOCABULARY}"
    uniform, zeros, size = torch.rand(rows), torch.zeros(rows), bytes_of(logits)

    def row(name: str, temperature: float, top_k: int, top_p: float, in_torch: Callable[[], object]) -> Row:
        arguments = ones * temperature, torch.full((rows,), top_k, dtype=torch.int32), ones * top_p, zeros, uniform
        return Row(name, shape, torch.float32, size, lambda: sampling.sample_tokens(logits, *arguments), in_torch)

    def draw(top_k: int, top_p: float) -> Callable[[], object]:
        return lambda: filtered(logits, top_k, top_p).multinomial(1)

    yield row("sample greedy", 0.0, 0, 1.0, lambda: logits.argmax(-1))
    yield row("sample all", 1.0, 0, 1.0, draw(0, 1.0))
    yield row("sample top-k 50", 1.0, 50, 1.0, draw(50, 1.0))
    yield row("sample top-p 0.95", 1.0, 0, 0.95, draw(0, 0.95))
    yield row("sample top-k 50, top-p 0.9", 1.0, 50, 0.9, draw(50, 0.9))
    masks, penalties = torch.rand(2, rows, VOCABULARY) < 0.01, ones * 1.1

    def penalties_torch() -> Tensor:
        factor = torch.where(masks[0] | masks[1], penalties.unsqueeze(-1), 1.0)
        return logits.copy_(torch.where(logits > 0, logits / factor, logits * factor))

    yield Row(
        "apply_repetition_penalties", shape, torch.float32, 2 * size + bytes_of(masks),
        lambda: sampling.apply_repetition_penalties(logits, masks[0], masks[1], penalties), penalties_torch,
    )  # fmt: skip


def likeliest_tokens(vocabulary: int, width: int) -> Iterator[Row]:
    weight = torch.randn(vocabulary, width).bfloat16()
    packed = linear.pack_linear_weight(weight)
    screen, norms = screened_head.screen_head(weight)
    for rows in (1, 16, 32):
        x = torch.randn(rows, width).bfloat16()
        yield Row(
            "screened_argmax", f"{rows}x{width}x{vocabulary}", x.dtype, bytes_of(screen),
            lambda x=x: screened_head.screened_argmax(x, packed, screen, norms),
            lambda x=x: F.linear(x, weight).argmax(-1),
        )  # fmt: skip


def all_rows() -> Iterator[Row]:
    for dtype in (torch.bfloat16, torch.float32):
        for tokens in TOKENS:
            for hidden in HIDDEN:
                for family in (norms, activations, heads):
                    yield from family(tokens, hidden, dtype)
    for rows in (1, 16):
        yield from choices(rows)
    for head in OUTPUT_HEADS:
        yield from likeliest_tokens(*head)
