"""The parts of weights that ranks hold: put together they are the whole, in every format."""

import json

import pytest
import torch

from support.compressed_tensors_writer import COMPRESSED
from support.quantized_checkpoints import FORMATS, write_quantized
from vllm.checkpoint import SafetensorsCheckpoint
from vllm.exceptions import ModelError
from vllm.partition import WHOLE, Part, Tile, shared_part
from vllm.quantization import linear_method
from vllm.quantization.at_load import Int4, Int8
from vllm.quantization.base import QuantizedWeight

ALL = {**FORMATS, **COMPRESSED}
UP, DOWN = ("model.layers.1.mlp.up_proj", 128, 64), ("model.layers.1.mlp.down_proj", 64, 128)


def dense(weight: QuantizedWeight | torch.Tensor) -> torch.Tensor:
    return weight.dequantized() if isinstance(weight, QuantizedWeight) else weight


def in_parts(method, checkpoint, layer, count: int, by_columns: bool) -> list[torch.Tensor]:
    tiles = [Tile(WHOLE, Part(i, count)) if by_columns else Tile(Part(i, count), WHOLE) for i in range(count)]
    return [dense(method.read(checkpoint, *layer, tile)) for tile in tiles]


@pytest.fixture(params=ALL)
def stored(request, tmp_path):
    folder, _ = write_quantized(tmp_path, ALL[request.param])
    config = json.loads((folder / "config.json").read_text())
    method = linear_method(config["quantization_config"]["quant_method"], config)
    return request.param, method, SafetensorsCheckpoint(folder, torch.float32)


def test_tiles_make_the_whole(stored):
    name, method, checkpoint = stored
    assert torch.equal(torch.cat(in_parts(method, checkpoint, UP, 4, False)), dense(method.read(checkpoint, *UP)))
    if "act_order" in name:
        with pytest.raises(ModelError, match=r"down_proj' cannot be split .* its g_idx .* give tensor_parallel_size=1"):
            in_parts(method, checkpoint, DOWN, 2, True)
    else:
        whole = dense(method.read(checkpoint, *DOWN))
        assert torch.equal(torch.cat(in_parts(method, checkpoint, DOWN, 2, True), dim=1), whole)


@pytest.mark.parametrize("method", [Int8({}), Int4({})])
def test_weights_quantised_while_they_are_loaded(method, tmp_path):
    _, reference = write_quantized(tmp_path, FORMATS["gptq4"])
    checkpoint = SafetensorsCheckpoint(reference, torch.float32)
    whole = checkpoint.take(f"{DOWN[0]}.weight", DOWN[1:])
    error = torch.cat(in_parts(method, checkpoint, DOWN, 2, True), dim=1) - whole
    assert error.norm() <= (dense(method.read(checkpoint, *DOWN)) - whole).norm() * 1.01
    assert torch.equal(
        torch.cat(in_parts(method, checkpoint, UP, 4, False)), dense(method.read(checkpoint, *UP))
    )  # scales are a row's or a group's of columns


@pytest.mark.parametrize(
    ("form", "layer", "by_columns", "count", "message"),
    [
        ("gptq4", DOWN, True, 8, r"down_proj' cannot be split .* 128 columns have scales in groups of 32"),
        ("gptq4", UP, False, 32, r"up_proj.qzeros' of shape \[2, 16\] cannot be split into 32 equal parts"),
        ("fp8_tensor", UP, False, 3, r"up_proj.weight' of shape \[128, 64\] cannot be split into 3 equal parts"),
    ],
)
def test_what_cannot_be_split_is_refused_by_name(form, layer, by_columns, count, message, tmp_path):
    folder, _ = write_quantized(tmp_path, FORMATS[form])
    config = json.loads((folder / "config.json").read_text())
    method = linear_method(config["quantization_config"]["quant_method"], config)
    with pytest.raises(ModelError, match=message):
        in_parts(method, SafetensorsCheckpoint(folder, torch.float32), layer, count, by_columns)


def test_parts_of_a_dimension():
    assert [Part(i, 3, ragged=True).bounds(7) for i in range(3)] == [(0, 3), (3, 6), (6, 7)]
    assert [Part(i, 4, ragged=True).bounds(5) for i in range(4)] == [(0, 2), (2, 4), (4, 5), (5, 5)]
    assert [shared_part(rank, 4, 2) for rank in range(4)] == [Part(0, 2), Part(0, 2), Part(1, 2), Part(1, 2)]
    assert [shared_part(rank, 2, 8) for rank in range(2)] == [Part(0, 2), Part(1, 2)]
