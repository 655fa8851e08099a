"""The digest that decides whether anything has to be built again."""

import pytest

from support.checkout import ROOT
from support.toy_checkout import make_checkout
from tooling.errors import UserError
from tooling.planning.inputs import digest, files_under, recipe_inputs


@pytest.fixture
def root(tmp_path):
    return make_checkout(tmp_path).root


def change_content(root):
    (root / "data/text").write_text("second\n")


def add_file(root):
    (root / "data/new").write_text("")


def rename_file(root):
    (root / "data/text").rename(root / "data/other")


def make_executable(root):
    (root / "data/text").chmod(0o755)


@pytest.mark.parametrize("change", [change_content, add_file, rename_file, make_executable])
def test_digest_changes_with(root, change):
    before = digest(root, ["data"])
    change(root)
    assert digest(root, ["data"]) != before


@pytest.mark.parametrize("ignored", ["data/x.so", "data/__pycache__/x.pyc", "build/anything", ".git/HEAD"])
def test_ignored_files_do_not_count(root, ignored):
    before = digest(root, ["."])
    (root / ignored).parent.mkdir(exist_ok=True)
    (root / ignored).write_text("anything")
    assert digest(root, ["."]) == before


def test_a_folder_named_like_an_anchored_pattern_counts_below_the_root(root):
    (root / "data/build").mkdir()
    (root / "data/build/file").write_text("")
    assert "data/build/file" in set(files_under(root, "data"))


def test_a_pattern_counts_as_what_it_matches(root):
    """As of a recipe's source filter."""
    for name in ("LICENSE", "LICENSE.OTHER", "README"):
        (root / name).write_text("first")
    assert set(files_under(root, "LICENSE*")) == {"LICENSE", "LICENSE.OTHER"}
    before = digest(root, ["LICENSE*"])
    (root / "README").write_text("second")
    assert digest(root, ["LICENSE*"]) == before
    (root / "LICENSE.OTHER").write_text("second")
    assert digest(root, ["LICENSE*"]) != before


def test_modification_times_do_not_count(root):
    before = digest(root, ["data"])
    (root / "data/text").touch()
    assert digest(root, ["data"]) == before


def test_recipe_inputs_are_its_folder_and_its_sources(root):
    assert recipe_inputs(root, "toy") == ["recipes/toy", "data"]


def test_vllm_depends_on_kernels_engine_and_build_files_but_not_on_tests_or_docs():
    inputs = recipe_inputs(ROOT, "vllm")
    assert {"csrc", "vllm", "cmake", "CMakeLists.txt", "setup.py", "pyproject.toml", "recipes/vllm"} <= set(inputs)
    assert not {"tests", "docs", "scripts", "."} & set(inputs)


def test_unreadable_recipe_is_one_line(root):
    (root / "recipes/toy/recipe.yaml").write_text("outputs: [\n")
    with pytest.raises(UserError, match=r"recipe.yaml cannot be read: [^\n]*$"):
        recipe_inputs(root, "toy")
