"""The table that the tests of this folder write."""

import pytest
import torch

from support import gpu_proof


def test_rows_replace_those_between_the_marks():
    page = f"before\n{gpu_proof.BEGIN}old\n{gpu_proof.END}after\n"
    table = gpu_proof.Proof("A GPU")
    table.compare("norm", torch.tensor([1.0, 100.0]), torch.tensor([1.0, 101.0]), 0.02)
    table.compare("norm", torch.tensor([0.5]), torch.tensor([0.5]), 0.01)
    written = gpu_proof.with_rows(page, table.rows("abc"))
    row = "| norm | A GPU | abc | 2.0e-02 | 9.9e-03 |\n"
    assert written == f"before\n{gpu_proof.BEGIN}{gpu_proof.HEAD}{row}{gpu_proof.END}after\n"
    assert gpu_proof.with_rows(written, table.rows("abc")) == written
    with pytest.raises(AssertionError, match=r"norm: error 1, accepted 0\.5"):
        table.compare("norm", torch.zeros(1), torch.ones(1), 0.5)


def test_only_ops_whose_tests_all_passed_have_a_row():
    table = gpu_proof.Proof("A GPU")
    table.note("_C::rms_norm", 10, 0, 0.25)
    table.note("_C::rms_norm", 5, 0, 0.5)
    table.note("_C::silu_and_mul", 3, 0, 0.1)
    table.note("_C::silu_and_mul", 3, 1, 0.1)
    assert table.rows("abc") == ["| _C::rms_norm | A GPU | abc | its 15 tests' | 50 % of it |\n"]


def test_the_page_has_the_marks():
    text = gpu_proof.PAGE.read_text()
    assert text.count(gpu_proof.BEGIN) == text.count(gpu_proof.END) == 1
