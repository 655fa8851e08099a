"""The processes of ranks: none outlives its engine, and when one dies the user hears why."""

import gc
import os
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from support.server import Server, wait_until
from support.tiny_model import write_tiny_model
from vllm import LLM, SamplingParams
from vllm.exceptions import EngineDeadError, ModelError, VLLMValidationError
from vllm.executor.workers import LOST_A_PEER

KILLED = r"the process of rank 1 was killed \(SIGKILL; where memory is short, by the system\)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def load(folder, **options) -> LLM:
    return LLM(str(folder), dtype="float32", num_gpu_blocks_override=256, **{"tensor_parallel_size": 2, **options})


def processes_of_ranks(pid: int | None = None) -> list[psutil.Process]:
    return [p for p in psutil.Process(pid).children() if any("vllm.executor" in word for word in words(p))]


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.ZombieProcess:
        return []


def kill_soon(process: psutil.Process, seconds: float) -> None:
    threading.Timer(seconds, process.kill).start()


def test_a_rank_that_is_killed_ends_the_engine_with_the_cause(folder):
    llm = load(folder)
    [worker] = processes_of_ranks()
    kill_soon(worker, 0.3)
    endless = SamplingParams(max_tokens=8000, ignore_eos=True)
    with pytest.raises(EngineDeadError, match=KILLED):
        llm.generate(["a"], endless, use_tqdm=False)
    with pytest.raises(EngineDeadError, match=KILLED):
        llm.generate(["b"], use_tqdm=False)
    assert not processes_of_ranks()


def test_ranks_end_with_the_engine(folder):
    before = psutil.Process().num_fds()
    llm = load(folder)
    assert len(processes_of_ranks()) == 1
    del llm
    wait_until(lambda: not processes_of_ranks(), what="no rank is left")
    gc.collect()
    assert psutil.Process().num_fds() <= before


def test_a_rank_that_fails_when_nobody_listens_any_more_says_nothing():
    ours, theirs = socket.socketpair()
    ours.close()
    code = (
        "from multiprocessing.connection import Connection; from vllm.executor.worker_process import _end; "
        f"_end(Connection({theirs.fileno()}), ValueError('a mistake'))"
    )
    with theirs:
        done = subprocess.run(
            [sys.executable, "-c", code], pass_fds=(theirs.fileno(),), capture_output=True, text=True, timeout=60
        )
    assert (done.returncode, done.stderr) == (LOST_A_PEER, "")


def test_an_error_of_another_rank_at_the_start_is_one_line(folder, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", f"{min(os.sched_getaffinity(0))}|9999")
    with pytest.raises(ModelError, match=r"^VLLM_CPU_OMP_THREADS_BIND=.* may not run on CPU 9999; it may on .*$"):
        load(folder)
    assert not processes_of_ranks()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tensor_parallel_size": 3}, ModelError, "4 heads with 2 key and value heads .* tensor_parallel_size=3 ranks"),
        ({"tensor_parallel_size": 0}, VLLMValidationError, "tensor_parallel_size=0 is not accepted"),
        ({"distributed_executor_backend": "uni"}, VLLMValidationError, "'uni' is not accepted .* give mp"),
    ],
)
def test_refused_sizes(folder, options, error, message):
    with pytest.raises(error, match=message):
        load(folder, **options)
    assert not processes_of_ranks()


def test_nothing_listens_where_others_reach_it(folder):
    llm = load(folder)
    listening = [c for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening and {each.laddr.ip for each in listening} == {"127.0.0.1"}
    llm.llm_engine.shutdown()


def test_a_server_replaces_an_engine_that_lost_a_rank_and_leaves_none_behind(folder):
    with Server(folder, "-tp", "2", "--dtype", "float32") as server:
        [first] = processes_of_ranks(server.core.pid)
        kill_soon(first, 0.3)
        body = {"model": str(folder), "prompt": "a", "max_tokens": 8000, "ignore_eos": True}
        answer = server.http.post("/v1/completions", json=body)
        assert answer.status_code == 500 and "the process of rank 1 was killed" in answer.text
        wait_until(lambda: server.http.get("/health").status_code == 200, what="a new engine")
        assert server.http.post("/v1/completions", json={**body, "max_tokens": 4}).status_code == 200
        core = server.core
        [second] = processes_of_ranks(core.pid)
        core.kill()
        wait_until(lambda: not second.is_running(), what="the rank of a killed core ends")
    assert not first.is_running()
