"""Model folders that cannot be served, each refused on one line that names the file; and those that can."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.models import mixed_prompts, save_model
from vllm import LLM, ModelRegistry, SamplingParams
from vllm.exceptions import ModelError

GREEDY = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "model")


def answer(folder, **arguments):
    llm = LLM(str(folder), **{"dtype": "float32", "max_model_len": 64, **arguments})
    prompts = [{"prompt_token_ids": p} for p in mixed_prompts(2, 10)]
    return [o.outputs[0].token_ids for o in llm.generate(prompts, GREEDY, use_tqdm=False)]


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def corrupt_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:8] + b"#" * 50 + path.read_bytes()[58:])


def huge_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def index_without_shard(folder):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00001.safetensors"}}))


BROKEN = {
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json does not exist"),
    "config is not JSON": (lambda f: (f / "config.json").write_text("{,}"), r"config\.json is not valid JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), r"config\.json holds a JSON list"),
    "no architecture": (lambda f: edit_config(f, architectures=None), "names no architecture"),
    "unknown architecture": (
        lambda f: edit_config(f, architectures=["NewForCausalLM"]),
        r"\['NewForCausalLM'\] are not supported for now: supported are LlamaForCausalLM, .*OPTForCausalLM",
    ),
    "unsupported activation": (lambda f: edit_config(f, hidden_act="gelu"), "hidden_act='gelu' is not supported"),
    "unsupported rope": (
        lambda f: edit_config(f, rope_parameters={"rope_type": "spiral", "rope_theta": 1.0}),
        "rope_type 'spiral' is not supported",
    ),
    "rope without its factor": (
        lambda f: edit_config(f, rope_parameters={"rope_type": "llama3", "rope_theta": 1.0}),
        "rope_type 'llama3' needs",
    ),
    "negative size": (lambda f: edit_config(f, hidden_size=-1), "hidden_size=-1 is not accepted"),
    "quantized": (
        lambda f: edit_config(f, quantization_config={"quant_method": "bitsandbytes"}),
        "is quantised by 'bitsandbytes', which is not supported; supported are gptq, awq, compressed-tensors, fp8",
    ),
    "uneven heads": (lambda f: edit_config(f, num_key_value_heads=3), "4 heads cannot share 3"),
    "odd head size": (lambda f: edit_config(f, head_dim=20), "head size 20 is not supported"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"has no \*\.safetensors file"),
    "truncated weights": (truncate, r"model\.safetensors is damaged or truncated"),
    "corrupt header": (corrupt_header, r"model\.safetensors is damaged or truncated"),
    "impossible header length": (huge_header, r"model\.safetensors is damaged or truncated"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), r"model\.safetensors is damaged"),
    "missing shard": (index_without_shard, r"model-00001\.safetensors, which .* names, does not exist"),
    "index without map": (
        lambda f: (f / "model.safetensors.index.json").write_text("{}"),
        r"index\.json has no weight_map",
    ),
    "missing weight": (
        lambda f: edit_weights(f, lambda w: w.pop("model.norm.weight")),
        r"has no weight 'model\.norm\.weight'",
    ),
    "unexpected weight": (
        lambda f: edit_weights(f, lambda w: w.update({"extra.weight": torch.ones(1)})),
        r"does not have: extra\.weight",
    ),
    "unexpected bias": (
        lambda f: edit_weights(f, lambda w: w.update({"model.layers.0.self_attn.o_proj.bias": torch.ones(64)})),
        r"does not have: model\.layers\.0\.self_attn\.o_proj\.bias",
    ),
    "wrong shape": (
        lambda f: edit_weights(f, lambda w: w.update({"model.norm.weight": torch.ones(3)})),
        r"'model\.norm\.weight' has shape \[3\], config\.json makes it \[64\]",
    ),
    "integer weight": (
        lambda f: edit_weights(f, lambda w: w.update({"model.norm.weight": torch.ones(64, dtype=torch.int8)})),
        "supported are bfloat16, float16, float32",
    ),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_broken_folder(folder, case):
    break_it, expected = BROKEN[case]
    break_it(folder)
    with pytest.raises(ModelError, match=expected) as caught:
        answer(folder)
    assert "\n" not in str(caught.value)


def test_missing_folder(tmp_path):
    with pytest.raises(ModelError, match=r"the model folder .*nowhere does not exist"):
        answer(tmp_path / "nowhere")


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, which can run code and is not read"):
        answer(folder)


def test_a_bias_of_zeros_is_none(good, folder):
    edit_weights(folder, lambda w: w.update({"model.layers.0.self_attn.o_proj.bias": torch.zeros(64)}))
    assert answer(folder) == answer(good)


def test_shards(good, folder):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    mapping = {}
    for shard, part in enumerate((names[:5], names[5:])):
        file = f"model-0000{shard}.safetensors"
        save_file({n: weights[n] for n in part}, folder / file)
        mapping.update(dict.fromkeys(part, file))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": mapping}))
    assert answer(folder) == answer(good)


@pytest.mark.parametrize("kind", ["llama_tied_bias", "opt_350m_style"])
def test_weights_of_a_base_model_saved_alone(kind, tmp_path):
    folder = save_model(kind, tmp_path)
    expected = answer(folder)
    weights = load_file(folder / "model.safetensors")
    save_file({n.removeprefix("model."): w for n, w in weights.items()}, folder / "model.safetensors")
    assert answer(folder) == expected


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "auto"])
def test_other_dtypes_run(good, dtype):
    assert [len(a) for a in answer(good, dtype=dtype)] == [8, 8]


def test_dummy_weights_need_no_file(folder):
    (folder / "model.safetensors").unlink()
    assert answer(folder, load_format="dummy") == answer(folder, load_format="dummy")


def test_hf_overrides(good):
    llm = LLM(str(good), hf_overrides={"num_hidden_layers": 1}, load_format="dummy")
    assert llm.llm_engine.config.model_config.hf_config["num_hidden_layers"] == 1


def test_registry():
    assert "Qwen3ForCausalLM" in ModelRegistry.get_supported_archs()
    with pytest.raises(ValueError, match="'module:Class'"):
        ModelRegistry.register_model("X", "no-colon")
    for wrong in (("X", 5), (5, object)):
        with pytest.raises(TypeError, match="=5 is not accepted: give "):
            ModelRegistry.register_model(*wrong)
