import pytest
import torch

from vllm.kernels.cache import reshape_and_cache, reshape_and_cache_flash
from vllm.utils.torch_utils import (
    create_kv_caches_with_random,
    create_kv_caches_with_random_flash,
    get_kv_cache_torch_dtype,
    set_default_torch_dtype,
)

ONE = torch.ones(1)


def test_default_dtype_is_the_old_one_again():
    with pytest.raises(ZeroDivisionError), set_default_torch_dtype(torch.float16):
        assert torch.empty(0).dtype is torch.float16
        _ = 1 / 0
    assert torch.empty(0).dtype is torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_random_caches_are_what_the_ops_write_to(dtype):
    key, value = torch.randn(2, 3, 4, 32).to(dtype)
    slots = torch.tensor([9, -1, 3])
    keys, values = create_kv_caches_with_random(2, 8, 2, 4, 32, "auto", dtype, seed=0, device="cpu")
    assert len(keys) == len(values) == 2
    assert 0 < keys[0].abs().max() <= 32**-0.5
    reshape_and_cache(key, value, keys[1], values[1], slots, "auto", ONE, ONE)
    assert torch.equal(keys[1][1, :, :, 1].flatten(1), key[0])
    assert torch.equal(values[1][0, :, :, 3], value[2])


@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_random_caches_of_heads_side_by_side(layout):
    key, value = torch.randn(2, 3, 4, 32)
    keys, values = create_kv_caches_with_random_flash(
        2, 8, 1, 4, 32, "auto", "float", seed=0, device="cpu", cache_layout=layout
    )
    assert keys[0].shape == values[0].shape == (2, 8, 4, 32)
    assert keys[0].stride(2) == (32 if layout == "NHD" else 8 * 32)
    reshape_and_cache_flash(key, value, keys[0], values[0], torch.tensor([9, 0, 3]), "auto", ONE, ONE)
    assert torch.equal(keys[0][1, 1], key[0])
    assert torch.equal(values[0][0, 3], value[2])


def test_random_caches_of_8_bits_hold_codes():
    (keys,), (values,) = create_kv_caches_with_random(2, 8, 1, 4, 32, "fp8", seed=0, device="cpu")
    assert keys.dtype is values.dtype is torch.uint8
    assert keys.shape == (2, 4, 2, 8, 16)
    assert 0 < values.view(torch.float8_e4m3fn).float().abs().max() <= 32**-0.5


def test_what_there_is_not_is_refused():
    assert get_kv_cache_torch_dtype("auto", "half") is torch.float16
    with pytest.raises(ValueError, match=r"'int3' is not accepted: give a torch\.dtype or one of float32,"):
        get_kv_cache_torch_dtype("int3")
    with pytest.raises(ValueError, match="head_size 40 is not accepted for a cache of fp8: give a multiple of 16"):
        create_kv_caches_with_random(1, 8, 1, 1, 40, "fp8")
    with pytest.raises(ValueError, match="cache_layout='DHN' is not accepted"):
        create_kv_caches_with_random_flash(1, 8, 1, 1, 8, "float", cache_layout="DHN")
