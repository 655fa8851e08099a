"""The warning about environment variables that nothing reads."""

import os
import re
from pathlib import Path

import pytest

from support.server import run_vllm
from vllm import LLM, envs
from vllm.exceptions import ModelError
from vllm.unread_environment import READ_ELSEWHERE, warn_of_unread_variables

ROOT = Path(__file__).parents[2]
READING = re.compile(r'(?:environ(?:\.get)?[\[(]|getenv\(|ENV\{)"?(VLLM_[A-Z0-9_]+)')
GIVEN = {"VLLM_LOG_LEVEL": "INFO", "VLLM_USE_V1": "1", "VLLM_TARGET_DEVICE": "cpu", "VLLM_SERVER_DEV_MODE": "0"}
SAID = "environment variables without effect here: VLLM_LOG_LEVEL (did you mean VLLM_LOGGING_LEVEL?), VLLM_USE_V1"


def test_llm_warns_once(monkeypatch, caplog, tmp_path):
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    warn_of_unread_variables.cache_clear()
    for _ in range(2):
        with pytest.raises(ModelError):
            LLM(str(tmp_path))
    assert [record.getMessage() for record in caplog.records] == [SAID]


def test_serving_warns(tmp_path):
    result = run_vllm("serve", str(tmp_path), env=os.environ | GIVEN)
    assert result.returncode == 2
    assert result.stderr.count("without effect") == result.stderr.count(f"{SAID}\n") == 1


@pytest.mark.parametrize("folder", ["build_support", "benchmarks", "cmake", "csrc", "scripts", "tests", "vllm"])
def test_what_the_repository_reads_is_not_warned_of(folder):
    files = (path for path in (ROOT / folder).rglob("*") if path.suffix in ("", ".py", ".cmake", ".cpp", ".cu"))
    read = {name for path in files if path.is_file() for name in READING.findall(path.read_text(errors="replace"))}
    assert read - READ_ELSEWHERE - set(dir(envs)) == set()
