"""Modules whose kernels are in packages beside vllm import everywhere, and say on use what to install."""

import pytest
import torch

import vllm.vllm_flash_attn as flash_attn
from vllm.kernels import companion, custom_all_reduce, flashmla, moe, sparse


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An installation without companions."""
    monkeypatch.setattr(companion, "_PACKAGE", tmp_path)
    companion.problem.cache_clear()
    yield tmp_path
    companion.problem.cache_clear()


def test_a_missing_module_names_its_package():
    reason = flash_attn.fa_version_unsupported_reason(2)
    assert "_vllm_fa2_C.abi3.so is not installed" in reason and "conda install vllm-flash-attn" in reason
    assert "\n" not in reason
    assert not flash_attn.is_fa_version_supported(2)
    supported, reason = flashmla.is_flashmla_supported()
    assert not supported and "vllm=*=cuda*" in reason and "\n" not in reason


def test_a_module_that_does_not_load_says_why(folder):
    library = folder / "vllm_flash_attn" / "_vllm_fa2_C.abi3.so"
    library.parent.mkdir()
    library.write_bytes(b"not a library")
    reason = flash_attn.fa_version_unsupported_reason(2)
    assert "_vllm_fa2_C.abi3.so cannot be loaded" in reason and "torch >= 2.10" in reason and "\n" not in reason


def test_use_without_the_package_is_refused_in_one_line():
    q, starts = torch.zeros(1, 1, 64, dtype=torch.bfloat16), torch.tensor([0, 1], dtype=torch.int32)
    with pytest.raises(ImportError, match=r"^_vllm_fa2_C.abi3.so is not installed.*vllm-flash-attn$"):
        flash_attn.flash_attn_varlen_func(q, q, q, 1, starts, 1, starts)
    cache, table = torch.zeros(1, 64, 1, 576, dtype=torch.bfloat16), torch.zeros(1, 1, dtype=torch.int32)
    with pytest.raises(ImportError, match=r"^_flashmla_C.abi3.so is not installed"):
        plan, _ = flashmla.get_mla_metadata()
        flashmla.flash_mla_with_kvcache(cache[:, :1], cache, table, table[0], 512, plan)


def test_builds_for_cpus_say_what_has_kernels_for_gpus():
    with pytest.raises(ImportError, match=r"_moe_C.abi3.so is not installed; it comes with CUDA and ROCm builds"):
        moe.moe_sum(torch.zeros(1, 2, 8), torch.zeros(1, 8))
    if not hasattr(torch.ops._C_custom_ar, "meta_size"):
        with pytest.raises(ImportError, match=r"custom all-reduce comes with builds of vllm for GPUs: conda install"):
            custom_all_reduce.meta_size()
    if not hasattr(torch.ops._C, "cutlass_sparse_compress"):
        assert not sparse.cutlass_sparse_scaled_mm_supported(90)
        with pytest.raises(ImportError, match=r"no sparse products: conda install"):
            sparse.cutlass_sparse_compress(torch.zeros(16, 32))


def test_there_are_two_versions():
    assert not flash_attn.is_fa_version_supported(4)
    assert flash_attn.fa_version_unsupported_reason(4) == "fa_version 4 is not offered: take fa_version 2 or 3"
    with pytest.raises(ValueError, match="fa_version is 5, expected one of 2, 3"):
        flash_attn.is_fa_version_supported(5)
