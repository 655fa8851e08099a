"""--kv-cache-dtype: answers from a KV cache in 8 bits, its size, its scales in checkpoints."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.logprobs import prompt_logprobs
from support.models import mixed_prompts, save_model
from support.tiny_model import write_tiny_model
from vllm import LLM, SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.exceptions import ModelError, VLLMValidationError
from vllm.profiling.model_parts import model_of

# Mean error of log probabilities over their spread: 8 and 4 (e4m3) or 3 (e5m2) significant bits.
BOUNDS = {"int8": 0.025, "fp8": 0.1, "fp8_e5m2": 0.2, "fp8_per_token_head": 0.08}


@pytest.fixture(scope="module", params=["llama", "opt"])
def folder(request, tmp_path_factory) -> Path:
    return save_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


def load(folder: Path, cache: str = "auto", **options) -> LLM:
    return LLM(str(folder), max_model_len=256, kv_cache_dtype=cache, **{"num_gpu_blocks_override": 64, **options})


def logprobs(llm: LLM) -> torch.Tensor:
    return prompt_logprobs(llm, 180)


@pytest.mark.parametrize("backend", ["CPU_ATTN", "TORCH_SDPA"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("cache", "bound"), BOUNDS.items())
def test_answers_resemble_those_of_the_models_dtype(folder, cache, bound, dtype, backend):
    got, expected = (logprobs(load(folder, c, dtype=dtype, attention_backend=backend)) for c in (cache, "auto"))
    assert not torch.equal(got, expected)
    assert (got - expected).abs().mean() < bound * expected.std()


@pytest.mark.parametrize("cache", ["int8", "fp8"])
def test_answers_do_not_depend_on_how_they_are_computed(folder, cache):
    """Batches, chunks, cached prefixes, preemption: the same tokens and the same log probabilities."""
    prompts = [{"prompt_token_ids": p} for p in mixed_prompts(6, 90, seed=3)]
    params = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True, logprobs=1)

    def answers(llm):
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return [(o.outputs[0].token_ids, o.outputs[0].cumulative_logprob) for o in outputs]

    options = {"dtype": "bfloat16", "block_size": 16}
    alone = answers(load(folder, cache, max_num_seqs=1, enable_prefix_caching=False, **options))
    roomy = load(folder, cache, max_num_batched_tokens=24, max_num_seqs=5, **options)
    assert answers(roomy) == alone
    assert answers(roomy) == alone and roomy.llm_engine.stats().prefix_cache_hits > 0
    crowded = load(folder, cache, num_gpu_blocks_override=10, **options)
    assert answers(crowded) == alone and crowded.llm_engine.stats().num_preemptions > 0


@pytest.mark.parametrize(
    ("cache", "bytes_per_head"), [("auto", 2 * 16), ("int8", 16 + 4), ("fp8", 16), ("fp8_per_token_head", 16 + 4)]
)
def test_memory_holds_as_many_tokens_as_their_codes_leave_room_for(model_folder, cache, bytes_per_head):
    llm = LLM(
        str(model_folder), dtype="bfloat16", max_model_len=4096, kv_cache_dtype=cache, kv_cache_memory_bytes=2**20
    )
    layers, kv_heads, block_size = 2, 2, 32
    blocks = 2**20 // (layers * 2 * kv_heads * bytes_per_head * block_size)
    assert llm.llm_engine.stats().kv_cache_tokens == blocks * block_size


def with_scales(folder: Path, to: Path, **scales: object) -> Path:
    """A copy of the model whose attention layers have these tensors beside their weights."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    for layer in range(2):
        tensors |= {f"model.layers.{layer}.self_attn.{name}": torch.tensor(v) for name, v in scales.items()}
    save_file(tensors, to / "model.safetensors")
    return to


@pytest.mark.parametrize(
    "scales", [{"k_scale": 0.5, "v_scale": [0.25]}, {"k_proj.k_scale": 0.5, "v_proj.output_scale": 0.25}]
)
def test_scales_of_the_checkpoint(model_folder, tmp_path, scales):
    folder = with_scales(model_folder, tmp_path / "model", q_scale=2.0, **scales)
    llm = load(folder, "fp8")
    attention = model_of(llm.llm_engine).attentions[1]
    assert attention.kv_scales == (0.5, 0.25)
    # Powers of two move the exponents of codes only, except where those are the smallest there are.
    torch.testing.assert_close(logprobs(llm), logprobs(load(model_folder, "fp8")), rtol=0, atol=0.1)
    assert torch.equal(logprobs(load(folder)), logprobs(load(model_folder)))  # needed by fp8 alone


def test_one_scale_of_both(model_folder, tmp_path):
    llm = load(with_scales(model_folder, tmp_path / "model", kv_scale=0.5), "fp8")
    assert model_of(llm.llm_engine).attentions[0].kv_scales == (0.5, 0.5)


@pytest.mark.parametrize("scale", [0.0, [1.0, 2.0]])
def test_scales_that_are_none(model_folder, tmp_path, scale):
    with pytest.raises(ModelError, match=r"self_attn.v_scale' of shape .* must be one positive number"):
        load(with_scales(model_folder, tmp_path / "model", v_scale=scale))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"kv_cache_dtype": "int4"},
            "kv_cache_dtype='int4' is not accepted: give one of auto, fp8, .* int8, .*float32",
        ),
        ({"kv_cache_dtype": "float16"}, "kv_cache_dtype='float16' is not accepted: give one of auto, .*, float32"),
        (
            {"kv_cache_dtype": "int8", "block_size": 8},
            "not accepted with block_size=8: give a block_size that is a mul",
        ),
    ],
)
def test_refusals(model_folder, arguments, expected):
    with pytest.raises(VLLMValidationError, match=expected):
        EngineArgs(str(model_folder), dtype="float32", **arguments).create_engine_config()


@pytest.mark.parametrize(
    ("given", "expected"), [("float32", "auto"), ("fp8", "fp8_e4m3"), ("int8", "int8_per_token_head")]
)
def test_names(model_folder, given, expected):
    config = EngineArgs(str(model_folder), dtype="float32", kv_cache_dtype=given).create_engine_config()
    assert config.cache_config.cache_dtype == expected
