"""scripts/test_lanes and the step of scripts/test that compiles for one GPU architecture: what is told, what fails."""

import os

import pytest

from support.toy_checkout import make_checkout
from tooling import cli, one_architecture
from tooling.building.toolchains import MissingToolchain
from tooling.commands import test_lanes as command
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.progress import Progress

MISSING = MissingToolchain("lane cpu-v3 cannot be built from X: it has no nvcc; build where conda-forge answers")


@pytest.fixture
def layout(tmp_path, monkeypatch):
    layout = make_checkout(tmp_path / "checkout")
    (layout.root / "recipes/toy").rename(layout.root / "recipes/vllm")
    (layout.root / "recipe-variants/cpu-v3.yaml").write_text("vllm_lane: [cpu_v3]\n")
    monkeypatch.setattr(Layout, "from_environment", classmethod(lambda cls: layout))
    monkeypatch.setattr(command, "run_tests", lambda layout, progress: 0)
    monkeypatch.setattr(command, "base_channel", lambda layout, progress: "conda-forge")
    return layout


def builds(monkeypatch, outcome: dict[str, Exception]):
    """Every lane builds, but those of `outcome`."""

    def build_one(layout, recipe, lane, outputs, progress):
        if lane in outcome:
            raise outcome[lane]

    record = {"sizes": {"linux-64/vllm-1.0-cpu_h0_0.conda": 1_230_000}, "seconds": 61.2, "tested": True}
    record |= {"compile_seconds": 40.1, "memory_kb": 1_500_000}
    monkeypatch.setattr(command.build, "build_one", build_one)
    monkeypatch.setattr(command, "last_build", lambda *_: record)


@pytest.mark.parametrize(
    ("problem", "status"), [(MISSING, 0), (UserError("building vllm in lane cpu-v3 failed: error; the log is ..."), 1)]
)
def test_a_lane_without_a_toolchain_is_told_and_one_that_breaks_fails(layout, monkeypatch, capsys, problem, status):
    builds(monkeypatch, {"cpu-v3": problem})
    assert command.main([]) == status
    shown = capsys.readouterr().out.splitlines()
    assert "| cpu | `vllm-1.0-cpu_h0_0` | 1.23 MB | 61 s | 40 s | 1.5 GB | built, tested |" in shown
    assert shown[-1] == f"| cpu-v3 | - | - | - | - | - | not built: {str(problem).partition('; ')[0]} |"


def test_a_local_channel_compiles_what_its_compiler_knows(layout, monkeypatch):
    builds(monkeypatch, {})
    seen = []
    monkeypatch.setattr(command.build, "build_one", lambda *_: seen.append(os.environ.get("PYTORCH_ROCM_ARCH")))
    monkeypatch.delenv("PYTORCH_ROCM_ARCH", raising=False)
    command.main(["cpu"])
    monkeypatch.setattr(command, "base_channel", lambda layout, progress: "file:///channel")
    command.main(["cpu"])
    monkeypatch.setenv("PYTORCH_ROCM_ARCH", "gfx90a")
    command.main(["cpu"])
    assert seen == [None, "gfx90a gfx942 gfx1100 gfx1201", "gfx90a"]


def test_a_failing_slow_test_fails(layout, monkeypatch):
    builds(monkeypatch, {})
    monkeypatch.setattr(command, "run_tests", lambda layout, progress: 3)
    assert command.main(["cpu"]) == 3


def test_figures_replace_the_last_ones_of_the_lanes(layout, monkeypatch):
    builds(monkeypatch, {})
    page = layout.root / "docs/performance.md"
    page.parent.mkdir()
    page.write_text(f"before\n{command.BEGIN}\n{command.END}\nafter\n")
    assert command.main(["--update-docs"]) == 0
    page.write_text(page.read_text().replace("1.23 MB", "9.99 MB"))
    assert command.main(["--update-docs", "cpu"]) == 0
    before, mark, head, rule, *rows, end, after = page.read_text().splitlines()
    assert (before, mark, end, after) == ("before", command.BEGIN, command.END, "after")
    assert head.startswith("| lane |") and rule.startswith("| --- |")
    assert [(row.split(" | ")[0], row.split(" | ")[2]) for row in rows] == [
        ("| cpu", "1.23 MB"),
        ("| cpu-v3", "9.99 MB"),
    ]


def test_figures_need_their_place(layout, tmp_path):
    (layout.root / "docs").mkdir()
    (layout.root / "docs/performance.md").write_text("no marks")
    with pytest.raises(UserError, match="has no lines '<!-- lanes: begin -->'"):
        command.update_figures(layout, [])


def test_an_unknown_lane_is_one_line(layout, capsys):
    assert cli.main(["test_lanes", "gpu"]) == 2
    assert capsys.readouterr().err == "error: unknown lane 'gpu': choose one of cpu, cpu-v3\n"


@pytest.mark.parametrize(
    ("problem", "verdict"),
    [(None, "passed"), (MISSING, f"skipped ({MISSING})"), (UserError("nvcc failed"), "failed (nvcc failed)")],
)
def test_one_architecture(layout, monkeypatch, problem, verdict):
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST", raising=False)
    seen = {}

    def build_one(where, recipe, lane, outputs, progress):
        seen.update(home=where.home, archs=os.environ["TORCH_CUDA_ARCH_LIST"])
        if problem:
            raise problem

    (layout.root / "recipe-variants/cuda13.yaml").write_text("vllm_lane: [cuda]\n")
    monkeypatch.setattr(one_architecture, "build_one", build_one)
    assert one_architecture.compile_cuda(layout, Progress()) == verdict
    assert seen["archs"] == "9.0a" and seen["home"] != layout.home
    assert "TORCH_CUDA_ARCH_LIST" not in os.environ
