"""The conversions that only the emulator and HIP compute in software, over every value."""

import ctypes
import math
import re

import pytest
import torch
from torch.library import Library
from torch.testing._internal.optests import OpCheckError

from support import device_emulator
from support.device_cases import FP8, to_fp8
from support.device_ops import Ops, namespace_of, needs_emulator

ops = Ops("_C_cache_ops")
lies = Library(namespace_of("_lies"), "FRAGMENT")
lies.define("writes(Tensor x) -> ()")


@torch.library.impl(lies, "writes", "CompositeExplicitAutograd")
def writes(x):
    x.zero_()


@pytest.mark.parametrize("name", ["fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_fp8_value_decodes_and_encodes_to_itself(name, dtype):
    codes = torch.arange(256, dtype=torch.uint8)
    expected = codes.view(FP8[name]).to(dtype)
    decoded = torch.empty(256, dtype=dtype)
    ops.convert_fp8(decoded, codes, 1.0, name)
    torch.testing.assert_close(decoded, expected, rtol=0, atol=0, equal_nan=True)
    finite = expected.isfinite()
    again = torch.empty(256, dtype=torch.uint8)
    ops.convert_fp8(again, decoded, 1.0, name)
    assert torch.equal(again[finite], codes[finite])
    assert again[expected.isnan()].view(FP8[name]).float().isnan().all()


@pytest.mark.parametrize("name", ["fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_16_bit_value_rounds_as_torch_does(name, dtype):
    values = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(dtype)
    values = values[~values.isnan()]
    made = torch.empty(values.shape, dtype=torch.uint8)
    ops.convert_fp8(made, values, 1.0, name)
    assert torch.equal(made, to_fp8(values, FP8[name]).view(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halfway_values_round_to_even(dtype):
    source = torch.tensor([448.0, 240.0, -0.875, 2.0**-9], dtype=torch.float8_e4m3fn)
    made = torch.empty(4, dtype=dtype)
    scale = 1 + 2**-8  # 448 * scale lies halfway between two bf16 values
    ops.convert_fp8(made, source.view(torch.uint8), scale, "fp8")
    assert torch.equal(made, (source.float() * scale).to(dtype))


def test_scale_divides_on_the_way_in():
    x = torch.randn(77) * 100
    made = torch.empty(77, dtype=torch.uint8)
    ops.convert_fp8(made, x, 0.3, "fp8")
    assert torch.equal(made, to_fp8(x / torch.tensor(0.3), torch.float8_e4m3fn).view(torch.uint8))


FAULTS = {
    "none": "",
    "no barrier": "",
    "partial barrier": "threads ended|wait at",
    "exited lane": "threads ended",
    "two shuffles": "lanes of a wave wait at different shuffles",
    "misaligned": "a vector access of 16 bytes is misaligned",
    "no wait": "",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault):
    needs_emulator()
    library = device_emulator.load()
    library.selftest.restype = ctypes.c_char_p
    out = torch.full((128,), math.nan)
    found = library.selftest(list(FAULTS).index(fault), ctypes.c_void_p(out.data_ptr())).decode()
    assert re.search(FAULTS[fault], found)
    # A missing barrier or wait shows as values that are not there yet.
    assert (not found and (torch.equal(out, torch.arange(127.0, -1, -1)))) == (fault == "none")


def test_op_that_does_not_do_what_its_schema_says():
    """`Ops` shows an op's first call to opcheck."""
    with pytest.raises(OpCheckError, match="test_schema failed"):
        Ops("_lies").writes(torch.ones(3))
