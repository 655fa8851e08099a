"""Each way of extending the context, and of writing it down, against transformers' table of inverse frequencies."""

import copy
import json

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from vllm.exceptions import ModelError
from vllm.hf_config import max_position, read_hf_config, rope_parameters
from vllm.layers.rotary import cos_sin_table

SIZE, THETA, TRAINED = 32, 10000.0, 256
_LONG = {"short_factor": [1.0 + 0.05 * i for i in range(16)], "long_factor": [1.0 + 0.7 * i for i in range(16)]}
CASES = {
    "linear": ({"rope_type": "linear", "factor": 3.0}, (64, 700)),
    "dynamic": ({"rope_type": "dynamic", "factor": 2.0}, (64, 256, 300, 700)),
    "yarn": ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, (256,)),
    "llama3": (
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        (256,),
    ),
    "longrope": ({"rope_type": "longrope", **_LONG, "original_max_position_embeddings": 64}, (64, 65, 256)),
    "longrope with factors": (
        {
            "rope_type": "longrope",
            **_LONG,
            "original_max_position_embeddings": 64,
            "factor": 8.0,
            "attention_factor": 1.3,
        },
        (64, 256),
    ),
}


@pytest.mark.parametrize(
    ("name", "longest"), [(name, longest) for name, (_, lengths) in CASES.items() for longest in lengths]
)
def test_against_transformers(name, longest):
    """transformers picks factors by the length of each sequence, this engine by the longest that is allowed."""
    parameters = {"rope_theta": THETA, **CASES[name][0]}
    expected = reference_table({"rope_parameters": parameters}, parameters["rope_type"], longest)
    torch.testing.assert_close(cos_sin_table(parameters, SIZE, longest, TRAINED), expected, rtol=1e-5, atol=1e-5)


def reference_table(fields: dict, rope_type: str, longest: int) -> torch.Tensor:
    sizes = {"hidden_size": 4 * SIZE, "num_attention_heads": 4, "head_dim": SIZE, "max_position_embeddings": TRAINED}
    config = transformers.LlamaConfig(**sizes, **copy.deepcopy(fields))
    frequencies, factor = ROPE_INIT_FUNCTIONS[rope_type](config, torch.device("cpu"), seq_len=longest)
    angles = torch.outer(torch.arange(longest, dtype=torch.float32), frequencies)
    return torch.cat((angles.cos(), angles.sin()), -1) * factor


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
PLAIN = {"rope_type": "default", "rope_theta": 5e5}
OLDER = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
NEWER = {**YARN, "rope_theta": 5e5}


@pytest.mark.parametrize("top_level", [{}, {"original_max_position_embeddings": 32}])
@pytest.mark.parametrize(
    "fields",
    [
        {"rope_parameters": NEWER},
        {"rope_theta": 5e5, "rope_scaling": YARN},
        {"rope_theta": 5e5, "rope_scaling": OLDER},
        {"rope_theta": 5e5, "rope_scaling": {"type": "longrope", **_LONG, "original_max_position_embeddings": 64}},
        {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_parameters": {**PLAIN, "rope_theta": 7.0}, "rope_scaling": NEWER},
    ],
)
def test_where_settings_stand(fields, top_level):
    fields = fields | top_level
    parameters = rope_parameters(fields)
    longest = max_position(fields | {"max_position_embeddings": TRAINED})
    expected = reference_table(fields, parameters["rope_type"], longest)
    torch.testing.assert_close(cos_sin_table(parameters, SIZE, longest, TRAINED), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stored", [{"rope_parameters": PLAIN}, {"rope_theta": 5e5}, {"rope_parameters": NEWER}])
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"rope_scaling": YARN}, NEWER),
        ({"rope_scaling": OLDER}, NEWER),
        ({"rope_parameters": YARN}, NEWER),
        ({"rope_scaling": YARN, "rope_theta": 7.0}, {**YARN, "rope_theta": 7.0}),
        ({"rope_scaling": None}, PLAIN),
        ({"rope_scaling": {**YARN, "factor": 2.0}}, {**NEWER, "factor": 2.0}),
    ],
)
def test_overrides_win_wherever_settings_stand(tmp_path, stored, overrides, expected):
    """Also over a length before the extension that stands outside."""
    for top_level in ({}, {"original_max_position_embeddings": 32}):
        (tmp_path / "config.json").write_text(json.dumps(stored | top_level))
        parameters = rope_parameters(read_hf_config(tmp_path, overrides))
        assert {key: parameters[key] for key in expected} == expected


def test_an_override_of_one_field_keeps_the_others(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"rope_parameters": NEWER}))
    assert rope_parameters(read_hf_config(tmp_path, {"rope_theta": 7.0})) == {**NEWER, "rope_theta": 7.0}
    assert rope_parameters(read_hf_config(tmp_path, {"rope_scaling": {"factor": 2}})) == {**NEWER, "factor": 2}
    with pytest.raises(ModelError, match=r"^rope_scaling='yarn' is not accepted: it must be an object with rope_type"):
        read_hf_config(tmp_path, {"rope_scaling": "yarn"})
