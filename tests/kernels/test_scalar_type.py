"""Types of elements have the limits and names of torch's, where it has the type, and numbers that lead back to them."""

import pytest
import torch

from vllm.scalar_type import NanRepr, ScalarType, scalar_types

NAMED = {name: value for name, value in vars(scalar_types).items() if isinstance(value, ScalarType)}
TORCH = {
    "int8": torch.int8,
    "uint8": torch.uint8,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@pytest.mark.parametrize("name", TORCH)
def test_limits_are_those_of_torchs_types(name):
    kind, of_torch = NAMED[name], TORCH[name]
    limits = torch.finfo(of_torch) if of_torch.is_floating_point else torch.iinfo(of_torch)
    assert (kind.min(), kind.max(), kind.size_bits) == (limits.min, limits.max, limits.bits)
    assert (kind.is_floating_point(), kind.is_integer()) == (of_torch.is_floating_point, not of_torch.is_floating_point)


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("int4", (-8, 7)),
        ("uint4", (0, 15)),
        ("uint4b8", (-8, 7)),
        ("uint3b4", (-4, 3)),
        ("uint8b128", (-128, 127)),
        ("float4_e2m1f", (-6.0, 6.0)),
        ("float6_e3m2f", (-28.0, 28.0)),
        ("float6_e2m3f", (-7.5, 7.5)),
    ],
)
def test_limits_of_types_that_torch_lacks(name, limits):
    assert (NAMED[name].min(), NAMED[name].max()) == limits


def test_scales_without_a_sign():
    assert scalar_types.float8_e8m0fnu.max() == 2.0**127
    with pytest.raises(ValueError, match="float8_e8m0fn has no sign"):
        scalar_types.float8_e8m0fnu.min()


def test_numbers_lead_back_to_their_types():
    assert len({kind.id for kind in NAMED.values()}) == len(NAMED) - 2  # bfloat16 and float16 are names of others
    for kind in NAMED.values():
        assert ScalarType.from_id(kind.id) == kind
    for number in (0, -1, 2**60):
        with pytest.raises(ValueError, match=f"scalar_type_id={number} is not accepted"):
            ScalarType.from_id(number)


def test_what_types_say_of_themselves():
    other = {"bfloat16": "float16_e8m7", "float16": "float16_e5m10", "float8_e8m0fnu": "float8_e8m0fn"}
    assert {name: str(kind) for name, kind in NAMED.items()} == {name: other.get(name, name) for name in NAMED}
    assert repr(scalar_types.uint4b8) == "ScalarType.uint4b8"
    codes, e4m3 = scalar_types.uint4b8, scalar_types.float8_e4m3fn
    assert (codes.has_bias(), codes.is_signed(), e4m3.has_bias(), e4m3.is_signed()) == (True, False, False, True)
    assert (e4m3.has_infs(), e4m3.has_nans(), e4m3.is_ieee_754()) == (False, True, False)
    assert e4m3.nan_repr is NanRepr.EXTD_RANGE_MAX_MIN and scalar_types.float4_e2m1f.has_nans() is False
    assert scalar_types.float16.is_ieee_754() and scalar_types.float16.has_infs()
