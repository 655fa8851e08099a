"""What the VLLM_LOGGING_ variables do to programs that this package starts, and loggers of other programs."""

import json
import logging
import os
import subprocess
import sys

import pytest

from vllm import envs
from vllm.logger import init_logger

PROGRAM = """
import logging
from vllm.log import set_up_logging
set_up_logging()
logger = logging.getLogger("vllm.some")
logger.info("a\\nb")
logger.debug("quiet")
"""


def run_program(**variables: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | variables, capture_output=True, text=True)


def logged(**variables: str) -> tuple[list[str], list[str]]:
    """Lines of stdout and of stderr."""
    run = run_program(**variables)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines(), run.stderr.splitlines()


def test_lines_go_to_stderr_and_begin_alike():
    out, (first, second) = logged(VLLM_LOGGING_PREFIX="50% ")
    assert not out and first.startswith("50% ") and first.endswith(" INFO vllm.some: a")
    assert second == first[:-1] + "b"


def test_level_and_stream():
    out, errors = logged(VLLM_LOGGING_LEVEL="debug", VLLM_LOGGING_STREAM="ext://sys.stdout")
    assert len(out) == 3 and not errors
    assert logged(VLLM_LOGGING_LEVEL="ERROR") == ([], [])


def test_logging_that_is_left_as_it_is():
    assert logged(VLLM_CONFIGURE_LOGGING="0") == ([], [])


def test_a_file_says_it_all(tmp_path):
    handler = {"class": "logging.StreamHandler", "formatter": "own", "stream": "ext://sys.stdout"}
    settings = {
        "version": 1,
        "formatters": {"own": {"class": "vllm.logging_utils.NewLineFormatter", "format": "own %(message)s"}},
        "handlers": {"own": handler},
        "loggers": {"vllm": {"handlers": ["own"], "level": "DEBUG"}},
    }
    file = tmp_path / "logging.json"
    file.write_text(json.dumps(settings))
    assert logged(VLLM_LOGGING_CONFIG_PATH=str(file)) == (["own a", "own b", "own quiet"], [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("---\nversion: 1", "it is not JSON: "),
        ("[1]", "give a JSON object, not a list"),
        ('{"version": 1, "handlers": {"own": {"class": "no.such"}}}', "its settings are not accepted: "),
        ('{"version": 2}', "its settings are not accepted: Unsupported version: 2"),
    ],
)
def test_files_that_cannot_be_followed(tmp_path, content, said):
    file = tmp_path / "logging.json"
    if content is not None:
        file.write_text(content)
    last = run_program(VLLM_LOGGING_CONFIG_PATH=str(file)).stderr.splitlines()[-1]
    assert last.startswith(f"vllm.exceptions.VLLMValidationError: VLLM_LOGGING_CONFIG_PATH={file}: {said}")


def test_a_file_and_its_opposite():
    last = run_program(VLLM_LOGGING_CONFIG_PATH="x", VLLM_CONFIGURE_LOGGING="0").stderr.splitlines()[-1]
    assert last.endswith("VLLM_CONFIGURE_LOGGING=0 forbids what it says: leave out one of them")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("VLLM_CONFIGURE_LOGGING", None, True),
        ("VLLM_CONFIGURE_LOGGING", "0", False),
        ("VLLM_LOGGING_STREAM", "EXT://SYS.STDOUT", "ext://sys.stdout"),
        ("VLLM_LOG_STATS_INTERVAL", "2.5", 2.5),
        ("VLLM_LOG_STATS_INTERVAL", "0", 10.0),
        ("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", None, 5),
    ],
)
def test_variables(monkeypatch, name, given, value):
    if given is not None:
        monkeypatch.setenv(name, given)
    assert getattr(envs, name) == value


def test_loggers_that_say_it_once(caplog):
    for _ in range(2):
        logger = init_logger("vllm.test_log")
        logger.warning_once("%s and %d", "one", 2)
        logger.error_once("said", scope="global")
    logger.warning_once("%s and %d", "one", 3)
    assert caplog.messages == ["one and 2", "said", "one and 3"]
    assert {record.filename for record in caplog.records} == {"test_log.py"}
    assert logging.getLogger("vllm.test_log") is logger
