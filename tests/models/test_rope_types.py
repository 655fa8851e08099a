"""Each way of extending the context against transformers' table of inverse frequencies."""

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

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
    config = transformers.LlamaConfig(
        hidden_size=4 * SIZE,
        num_attention_heads=4,
        head_dim=SIZE,
        max_position_embeddings=TRAINED,
        rope_parameters=dict(parameters),
    )
    frequencies, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, torch.device("cpu"), seq_len=longest)
    angles = torch.outer(torch.arange(longest, dtype=torch.float32), frequencies)
    expected = torch.cat((angles.cos(), angles.sin()), -1) * factor
    torch.testing.assert_close(cos_sin_table(parameters, SIZE, longest, TRAINED), expected, rtol=1e-5, atol=1e-5)
