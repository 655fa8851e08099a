"""The engine's layers, as docs/structure.md lists them: a package imports only from those below it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

VLLM = Path(__file__).parents[1] / "vllm"
# Lowest first. Modules directly in vllm/ are the lowest row, and may import one another.
LAYERS = [
    {"kernels"},
    {"distributed", "platforms", "kvcache", "vllm_flash_attn", "flashinfer", "deep_gemm"},
    {"scheduler", "quantization"},
    {"layers", "attention"},
    {"models"},
    {"sampling"},
    {"worker"},
    {"executor"},
    {"engine", "grpc"},
    {"profiling"},
    {"entrypoints"},
    {"tokenizers"},
    {"_C", "utils", "v1", "lora", "usage", "renderers", "transformers_utils"},
]
RANKS = {name: rank for rank, row in enumerate(LAYERS, start=1) for name in row}
# These two are doors into the whole package for its users: what they offer is imported when it is first used.
DOORS = {"__init__", "_custom_ops"}


def unit_of(module: str) -> str:
    """The package or module directly below vllm."""
    return module.split(".")[1] if "." in module else "__init__"


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "vllm")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vllm":
            deeper = node.module != "vllm"
            yield from ((node.module if deeper else f"vllm.{alias.name}") for alias in node.names)


def upward_imports() -> list[str]:
    found = []
    for path in sorted(VLLM.rglob("*.py")):
        own = unit_of(".".join(path.relative_to(VLLM.parent).with_suffix("").parts))
        if own in DOORS:
            continue
        for module in imported_modules(ast.parse(path.read_text())):
            other = unit_of(module)
            upward = RANKS.get(other, 0) > RANKS.get(own, 0)
            beside = own != other and RANKS.get(other, 0) == RANKS.get(own, 0) > 0
            if upward or beside:
                found.append(f"{path.relative_to(VLLM)}: {module}")
    return found


def test_imports_point_downward():
    assert upward_imports() == []


@pytest.mark.parametrize("name", sorted(path.name for path in VLLM.iterdir() if (path / "__init__.py").exists()))
def test_every_package_has_its_row(name: str):
    assert name in RANKS


@pytest.mark.parametrize("package", ["scheduler", "kvcache"])
def test_the_scheduler_knows_no_torch(package: str):
    for path in (VLLM / package).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "torch" not in {name.split(".")[0] for name in names}, path


def test_its_page_stays_short():
    """One look must be enough; reasons are in docs/decisions.md."""
    assert len((VLLM.parent / "docs/structure.md").read_text().splitlines()) <= 60
