"""OPT: learned positions, layer norms with biases, ReLU."""

from typing import Any

from torch import Tensor

from vllm.attention.paged import AttentionShape, PagedAttention
from vllm.attention.step_input import StepInput
from vllm.checkpoint import Checkpoint
from vllm.exceptions import ModelError
from vllm.layers.embedding import load_embedding_and_head
from vllm.layers.linear import Linear
from vllm.layers.norm import LayerNorm
from vllm.layers.parallel_linear import column_parallel, qkv_parallel, row_parallel
from vllm.layers.workspace import Workspace
from vllm.models.hf_fields import Fields
from vllm.models.interface import BuildContext
from vllm.quantization.kv_scales import take_kv_scales

# The first rows of OPT's position table belong to padding.
_POSITION_OFFSET = 2


class OPTForCausalLM:
    """A decoder of attention and two-layer MLP blocks, normed before each block (or after: the 350M model)."""

    def __init__(self, context: BuildContext):
        config, checkpoint = context.hf_config, context.checkpoint
        fields = Fields(config)
        fields.require("activation_function", "relu")
        self.vocab_size = fields.positive("vocab_size")
        hidden, ffn = fields.positive("hidden_size"), fields.positive("ffn_dim")
        width = fields.positive("word_embed_proj_dim", hidden)
        positions = fields.positive("max_position_embeddings") + _POSITION_OFFSET
        norms_first, bias = config.get("do_layer_norm_before", True), config.get("enable_bias", True)
        if not config.get("layer_norm_elementwise_affine", True):
            raise ModelError("config.json: layer_norm_elementwise_affine=False is not supported")
        root = checkpoint.prefix("model.", "decoder.embed_positions.weight") + "decoder"
        tied = config.get("tie_word_embeddings", True)
        self._tokens, self._head = load_embedding_and_head(
            checkpoint, f"{root}.embed_tokens", "lm_head", self.vocab_size, width, tied
        )
        self._positions = checkpoint.take(f"{root}.embed_positions.weight", (positions, hidden))
        self._project_in = self._project_out = None
        if width != hidden:
            self._project_in = Linear.load(checkpoint, [f"{root}.project_in"], [hidden], width)
            self._project_out = Linear.load(checkpoint, [f"{root}.project_out"], [width], hidden)
        shapes = self.attention_shapes(config)
        self._layers = [
            OPTLayer(checkpoint, f"{root}.layers.{i}", shape, hidden, ffn, norms_first, bias)
            for i, shape in enumerate(shapes)
        ]
        self.attentions = [layer.attention for layer in self._layers]
        self.only_wanted = (self._project_out,)
        has_norm = norms_first and not config.get("_remove_final_layer_norm", False)
        self._norm = LayerNorm.load(checkpoint, f"{root}.final_layer_norm", hidden) if has_norm else None
        first = self._layers[0]
        widths = {"embedded": width, "x": hidden, "added": hidden, "qkv": first.qkv.out_features}
        widths |= {"attended": first.output.in_features, "ffn": first.down.in_features}
        self._workspace = Workspace(context.max_tokens, context.dtype, checkpoint.device, widths)
        self._heads = (first.attention.shape.num_heads, first.attention.shape.head_size)

    @staticmethod
    def attention_shapes(hf_config: dict[str, Any]) -> list[AttentionShape]:
        fields = Fields(hf_config)
        heads = fields.positive("num_attention_heads")
        shape = AttentionShape(heads, heads, fields.positive("hidden_size") // heads)
        return [shape] * fields.positive("num_hidden_layers")

    @staticmethod
    def ignored_weights(hf_config: dict[str, Any]) -> tuple[str, ...]:
        return ("lm_head.weight",) if hf_config.get("tie_word_embeddings", True) else ()

    def forward(self, step: StepInput) -> Tensor:
        views = self._workspace.views(step.num_tokens)
        if "query" not in views:
            views["query"] = views["qkv"][:, : views["attended"].shape[1]].unflatten(1, self._heads)
            views["attended_heads"] = views["attended"].unflatten(1, self._heads)
        x = views["x"]
        if self._project_in is None:
            self._tokens(step.token_ids, x)
        else:
            self._tokens(step.token_ids, views["embedded"])
            self._project_in(views["embedded"], x)
        x += self._positions[step.positions + _POSITION_OFFSET]
        for layer in self._layers:
            layer(step, views)
        hidden = step.wanted(x)
        if self._norm is not None:
            hidden = self._norm(hidden)
        if self._project_out is not None:
            projected = hidden.new_empty(hidden.shape[0], self._project_out.out_features)
            self._project_out(hidden, projected)
            hidden = projected
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(hidden)

    def greedy_tokens(self, hidden: Tensor) -> Tensor | None:
        return self._head.greedy_tokens(hidden)


class OPTLayer:
    """One block; x is the residual stream."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        shape: AttentionShape,
        hidden: int,
        ffn: int,
        norms_first: bool,
        bias: bool,
    ):
        own = f"{name}.self_attn"
        self.norms_first = norms_first
        self.attention_norm = LayerNorm.load(checkpoint, f"{name}.self_attn_layer_norm", hidden)
        of_rank = shape.of_rank(checkpoint.group.size)
        self.qkv = qkv_parallel(checkpoint, own, shape.num_heads, shape.num_kv_heads, shape.head_size, hidden, bias)
        self.attention = PagedAttention(of_rank, kv_scales=take_kv_scales(checkpoint, own))
        self.output = row_parallel(checkpoint, f"{own}.out_proj", hidden, hidden, bias)
        self.ffn_norm = LayerNorm.load(checkpoint, f"{name}.final_layer_norm", hidden)
        self.up = column_parallel(checkpoint, [f"{name}.fc1"], [ffn], hidden, bias)
        self.down = row_parallel(checkpoint, f"{name}.fc2", hidden, ffn, bias)

    def __call__(self, step: StepInput, views: dict[str, Tensor]) -> None:
        x, added = views["x"], views["added"]
        self.qkv(self.attention_norm(x) if self.norms_first else x, views["qkv"])
        self.attention(views["qkv"], views["query"], step, views["attended_heads"])
        self.output(views["attended"], added)
        x += added
        if not self.norms_first:
            x.copy_(self.attention_norm(x))
        self.up(self.ffn_norm(x) if self.norms_first else x, views["ffn"])
        self.down(views["ffn"].relu_(), added)
        x += added
        if not self.norms_first:
            x.copy_(self.ffn_norm(x))
