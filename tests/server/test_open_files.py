"""The limit of open files is raised, never lowered, and a load beyond it is refused."""

import resource

import pytest

from support.server import run_vllm
from vllm.entrypoints import open_files


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(256, 4096, 4096), (1024, 10**9, 65536), (10**6, 10**6, 10**6), (-1, -1, 65536), (1024, -1, 65536)],
)
def test_as_far_as_the_hard_one_and_reason_allow(soft, hard, expected, monkeypatch):
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: limits.append(both))
    assert open_files.raise_open_file_limit() == expected
    assert limits[-1] == ((soft, hard) if len(limits) == 1 else (expected, hard))


def test_a_load_that_needs_more_is_refused():
    result = run_vllm("bench", "serve", "--num-prompts", "100", preexec_fn=_allow_few_files)
    assert result.returncode == 2
    assert "give --max-concurrency 72 or less" in result.stderr


def _allow_few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
