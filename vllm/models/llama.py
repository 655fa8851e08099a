"""Llama, and the models that differ from it in a few switches: Mistral, Qwen2, Qwen3."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vllm.attention.paged import AttentionShape, PagedAttention
from vllm.attention.step_input import StepInput
from vllm.checkpoint import Checkpoint
from vllm.hf_config import rope_parameters
from vllm.layers.embedding import load_embedding_and_head
from vllm.layers.mlp import GatedMLP
from vllm.layers.norm import RMSNorm
from vllm.layers.parallel_linear import qkv_parallel, row_parallel
from vllm.layers.replay import Replay
from vllm.layers.rotary import cos_sin_table
from vllm.layers.workspace import Workspace
from vllm.models.hf_fields import Fields
from vllm.models.interface import BuildContext
from vllm.quantization.kv_scales import take_kv_scales


@dataclass(slots=True)
class LlamaShape:
    """config.json's figures, in the field's terms."""

    hidden_size: int
    num_layers: int
    intermediate_size: int
    vocab_size: int
    norm_epsilon: float
    tied: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    rotary_size: int
    attentions: list[AttentionShape]


class LlamaForCausalLM:
    """A decoder of attention and gated MLP blocks with RMS norms before each."""

    def __init__(self, context: BuildContext):
        shape = self.shape(context.hf_config)
        self.vocab_size = shape.vocab_size
        checkpoint = context.checkpoint
        root = checkpoint.prefix("model.", "norm.weight")
        self._embedding, self._head = load_embedding_and_head(
            checkpoint, f"{root}embed_tokens", "lm_head", shape.vocab_size, shape.hidden_size, shape.tied
        )
        cos_sin = self._rotary_table(context, shape)
        self._layers = [
            LlamaLayer(checkpoint, f"{root}layers.{i}", shape, attention, cos_sin)
            for i, attention in enumerate(shape.attentions)
        ]
        self.attentions = [layer.attention for layer in self._layers]
        last = self._layers[-1]
        self.only_wanted = (last.output, last.mlp, last.mlp.down)
        self._norm = RMSNorm.load(checkpoint, f"{root}norm", shape.hidden_size, shape.norm_epsilon)
        first = self._layers[0]
        self._num_heads, self._head_size = first.attention.shape.num_heads, first.attention.shape.head_size
        parts = (part for layer in self._layers for part in layer.parts)
        self._replay = Replay(parts, checkpoint.group)
        self._workspace = Workspace(
            context.max_tokens,
            context.dtype,
            checkpoint.device,
            {
                "x": shape.hidden_size,
                "residual": shape.hidden_size,
                "qkv": first.qkv.out_features,
                "attended": first.output.in_features,
                "activated": first.mlp.down.in_features,
            },
        )

    @classmethod
    def shape(cls, hf_config: dict[str, Any]) -> LlamaShape:
        fields = Fields(hf_config)
        fields.require("hidden_act", "silu")
        hidden_size, num_heads = fields.positive("hidden_size"), fields.positive("num_attention_heads")
        head_size = fields.positive("head_dim", hidden_size // num_heads)
        num_kv_heads = fields.positive("num_key_value_heads", num_heads)
        num_layers = fields.positive("num_hidden_layers")
        partial = rope_parameters(hf_config).get("partial_rotary_factor", 1.0)
        bias = bool(hf_config.get("attention_bias", False))
        return LlamaShape(
            hidden_size=hidden_size,
            num_layers=num_layers,
            intermediate_size=fields.positive("intermediate_size"),
            vocab_size=fields.positive("vocab_size"),
            norm_epsilon=hf_config.get("rms_norm_eps", 1e-6),
            tied=bool(hf_config.get("tie_word_embeddings", False)),
            qkv_bias=bias,
            output_bias=bias,
            mlp_bias=bool(hf_config.get("mlp_bias", False)),
            qk_norm=False,
            rotary_size=int(head_size * partial),
            attentions=[
                AttentionShape(num_heads, num_kv_heads, head_size, cls.sliding_window(hf_config, layer))
                for layer in range(num_layers)
            ],
        )

    @staticmethod
    def sliding_window(hf_config: dict[str, Any], layer: int) -> int:
        """Tokens that a layer sees, itself included; 0 for all. Llama has none, Mistral one for every layer."""
        if hf_config.get("model_type") != "mistral":
            return 0
        return hf_config.get("sliding_window") or 0

    @classmethod
    def attention_shapes(cls, hf_config: dict[str, Any]) -> list[AttentionShape]:
        return cls.shape(hf_config).attentions

    @staticmethod
    def ignored_weights(hf_config: dict[str, Any]) -> tuple[str, ...]:
        return ("lm_head.weight",) if hf_config.get("tie_word_embeddings", False) else ()

    def forward(self, step: StepInput) -> Tensor:
        views = self._workspace.views(step.num_tokens)
        x, residual = views["x"], views["residual"]
        if "query" not in views:
            heads = (self._num_heads, self._head_size)
            views["query"] = views["qkv"][:, : self._num_heads * self._head_size].unflatten(1, heads)
            views["attended_heads"] = views["attended"].unflatten(1, heads)
        self._embedding(step.token_ids, x)
        residual.zero_()
        some_wanted = step.logits_indices is not None
        key = (*step.shape_key, self.attentions[0].binding, some_wanted)
        self._replay.run(key, lambda: self._run_layers(step, views, some_wanted))
        if some_wanted:
            residual, attended = step.wanted(residual), step.wanted(views["attended"])
            x = torch.empty_like(residual)
            self._layers[-1].transform(x, residual, attended, views["activated"][: x.shape[0]])
        self._norm.add(x, residual)
        return x

    def _run_layers(self, step: StepInput, views: dict[str, Tensor], some_wanted: bool) -> None:
        """All layers; where only some rows are wanted, up to the last one's attention, the last to mix tokens."""
        for layer in self._layers[:-1]:
            layer(step, views)
        if some_wanted:
            self._layers[-1].attend(step, views)
        else:
            self._layers[-1](step, views)

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(hidden)

    def greedy_tokens(self, hidden: Tensor) -> Tensor | None:
        return self._head.greedy_tokens(hidden)

    @staticmethod
    def _rotary_table(context: BuildContext, shape: LlamaShape) -> Tensor:
        trained = context.hf_config.get("max_position_embeddings") or context.max_model_len
        parameters = rope_parameters(context.hf_config)
        table = cos_sin_table(parameters, shape.rotary_size, context.max_model_len, trained)
        return table.to(context.checkpoint.device)


class LlamaLayer:
    """One block. x holds what the block before added, the residual stream everything up to then."""

    def __init__(
        self, checkpoint: Checkpoint, name: str, shape: LlamaShape, attention: AttentionShape, cos_sin: Tensor
    ):
        hidden, epsilon = shape.hidden_size, shape.norm_epsilon
        own = f"{name}.self_attn"
        heads = (attention.num_heads, attention.num_kv_heads, attention.head_size)
        of_rank = attention.of_rank(checkpoint.group.size)
        self.input_norm = RMSNorm.load(checkpoint, f"{name}.input_layernorm", hidden, epsilon)
        self.qkv = qkv_parallel(checkpoint, own, *heads, hidden, bias=shape.qkv_bias)
        norms = (None, None)
        if shape.qk_norm:
            norms = tuple(checkpoint.take(f"{own}.{p}_norm.weight", (attention.head_size,)).clone() for p in "qk")
        self.attention = PagedAttention(
            of_rank, cos_sin, *norms, norm_epsilon=epsilon, kv_scales=take_kv_scales(checkpoint, own)
        )
        self.output = row_parallel(checkpoint, f"{own}.o_proj", hidden, attention.query_width, shape.output_bias)
        self.mlp_norm = RMSNorm.load(checkpoint, f"{name}.post_attention_layernorm", hidden, epsilon)
        self.mlp = GatedMLP(checkpoint, f"{name}.mlp", hidden, shape.intermediate_size, shape.mlp_bias)

    @property
    def parts(self) -> tuple[object, ...]:
        return self.input_norm, self.qkv, self.attention, self.output, self.mlp_norm, self.mlp

    def __call__(self, step: StepInput, views: dict[str, Tensor]) -> None:
        self.attend(step, views)
        self.transform(views["x"], views["residual"], views["attended"], views["activated"])

    def attend(self, step: StepInput, views: dict[str, Tensor]) -> None:
        """Up to `attended`, with the keys and values of all tokens."""
        x = views["x"]
        self.input_norm.add(x, views["residual"])
        self.qkv(x, views["qkv"])
        self.attention(views["qkv"], views["query"], step, views["attended_heads"])

    def transform(self, x: Tensor, residual: Tensor, attended: Tensor, activated: Tensor) -> None:
        """The rest, which takes each row by itself, to x; `activated` is room for the MLP."""
        self.output(attended, x)
        self.mlp_norm.add(x, residual)
        self.mlp(x, activated, x)
