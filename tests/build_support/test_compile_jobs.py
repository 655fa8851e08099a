"""Which compilers run together, and what happens to one that is killed: real processes, a made-up compiler."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from build_support import compile_jobs
from build_support.compile_jobs import MAX_PASSED_OVER, Queue, may_start
from build_support.compile_launcher import compiler_threads, source_and_object, was_killed
from support.checkout import ROOT
from support.server import wait_until

LAUNCHER = ROOT / "build_support" / "compile_launcher.py"
COMPILER = """
import json, os, sys, time
output, source = sys.argv[sys.argv.index("-o") + 1], sys.argv[-1]
start = time.time()
killed = json.loads(os.environ.get("KILLED", "{}")).get(os.path.basename(source), 0)
tries = output + ".tries"
done = os.path.getsize(tries) if os.path.exists(tries) else 0
open(tries, "a").write("x")
if done < killed:
    if os.environ["HOW"] == "signal":
        os.kill(os.getpid(), 9)
    sys.stderr.write("fatal error: Killed signal terminated program cc1plus\\n")
    sys.exit(1)
if "error" in source:
    sys.exit("no such thing")
time.sleep(float(os.environ.get("SECONDS_EACH", "0.3")))
open(output, "w").write("object")
"""


def job(pid: int, rss: int, alone: bool = False, passed_over: int = 0) -> dict:
    return {"pid": pid, "rss_kb": rss, "alone": alone, "passed_over": passed_over}


def started(waiting, running, jobs=4, budget=100) -> list[int]:
    return [j["pid"] for j in waiting if may_start(j["pid"], waiting, running, jobs, budget)]


def test_heaviest_first():
    assert started([job(1, 10), job(2, 30), job(3, 20)], []) == [2]


def test_one_runs_even_if_it_does_not_fit():
    assert started([job(1, 500)], []) == [1]


def test_no_more_than_jobs():
    assert started([job(3, 1)], [job(1, 1), job(2, 1)], jobs=2) == []


def test_lighter_job_fills_the_gap_and_is_counted():
    waiting = [job(2, 60), job(3, 20)]
    assert started(waiting, [job(1, 70)]) == [3]
    assert waiting[0]["passed_over"] == 1


def test_job_passed_over_too_often_gets_its_turn():
    assert started([job(2, 60, passed_over=MAX_PASSED_OVER), job(3, 20)], [job(1, 70)]) == []


def test_lone_job_waits_for_quiet_and_keeps_it():
    lone = job(2, 10, alone=True)
    assert started([lone, job(3, 1)], [job(1, 1)]) == []
    assert started([lone, job(3, 90)], []) == [2]
    assert started([job(3, 1)], [lone]) == []


class Build:
    """Launchers of made-up sources in one build folder."""

    def __init__(self, folder, **variables: str) -> None:
        self.folder = folder
        (folder / "compiler.py").write_text(COMPILER)
        (folder / "costs.json").write_text("{}")
        names = {k: v for k, v in os.environ.items() if k != "MAX_JOBS"}
        self.environment = names | {"HOW": "message"} | variables

    def costs(self, **rss_kb: int) -> None:
        costs = {f"{name}.cpp": {"peak_rss_kb": kb, "seconds": 1.0} for name, kb in rss_kb.items()}
        (self.folder / "costs.json").write_text(json.dumps(costs))

    def start(self, name: str) -> subprocess.Popen:
        command = [sys.executable, "-ES", LAUNCHER, self.folder, self.folder, self.folder / "costs.json",
                   sys.executable, self.folder / "compiler.py", "-o", f"{name}.o", "-c", f"{name}.cpp"]  # fmt: skip
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *names: str) -> dict[str, tuple[int, str]]:
        processes = {name: self.start(name) for name in names}
        results = {}
        for name, process in processes.items():
            out, err = process.communicate(timeout=60)
            results[name] = (process.returncode, out + err)
        return results

    def record(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "compile_record.jsonl").read_text().splitlines()]


def together(record: list[dict]) -> int:
    """How many compilers ran at the same time at most."""
    return max(sum(r["start"] < moment < r["end"] for r in record) for moment in (r["end"] - 0.001 for r in record))


def test_record(tmp_path):
    build = Build(tmp_path)
    assert build.run("a")["a"][0] == 0
    (line,) = build.record()
    assert list(line) == ["source", "object", "start", "end", "user_s", "peak_rss_kb", "cache", "exit"]
    assert line["source"] == "a.cpp" and line["object"] == "a.o" and line["cache"] is None and line["exit"] == 0
    assert line["end"] - line["start"] >= 0.3
    assert line["peak_rss_kb"] > 1000


def test_max_jobs_is_the_number_of_compilers(tmp_path):
    build = Build(tmp_path, MAX_JOBS="2", SECONDS_EACH="0.5")
    assert {code for code, _ in build.run(*"abcde").values()} == {0}
    assert together(build.record()) == 2


def test_heaviest_source_starts_first(tmp_path):
    build = Build(tmp_path, MAX_JOBS="1", SECONDS_EACH="3")
    build.costs(a=1000, b=3000, c=2000)
    first = build.start("first")  # the others wait while it runs, however slowly they start
    wait_until((tmp_path / "first.o.tries").exists, what="the first compiler runs")
    build.environment["SECONDS_EACH"] = "0.1"
    build.run(*"abc")
    first.communicate()
    assert [line["source"] for line in build.record()] == ["first.cpp", "b.cpp", "c.cpp", "a.cpp"]


def test_memory_limits_the_number(tmp_path, monkeypatch):
    """Costs that fill the memory that is free run one after another, whatever the number of cores."""
    build = Build(tmp_path)
    free_kb = compile_jobs.available_memory() // 1024
    build.costs(a=free_kb, b=free_kb, c=free_kb)
    build.run(*"abc")
    assert together(build.record()) == 1


def test_next_build_knows_what_the_last_one_took(tmp_path):
    build = Build(tmp_path)
    build.costs(a=10**9)
    build.run("a")
    measured = json.loads((tmp_path / "compile_jobs.json").read_text())["costs"]["a.cpp"]
    assert measured["peak_rss_kb"] == build.record()[0]["peak_rss_kb"] < 10**9


@pytest.mark.parametrize("how", ["signal", "message"])
def test_killed_compiler_is_tried_again_alone(tmp_path, how):
    build = Build(tmp_path, HOW=how, KILLED='{"big.cpp": 1}', MAX_JOBS="3")
    results = build.run("big", "b", "c", "d")
    assert {code for code, _ in results.values()} == {0}, results
    assert "the compiler of big.cpp was killed; it is tried again alone" in results["big"][1]
    assert (tmp_path / "big.o").read_text() == "object"
    first, second = (line for line in build.record() if line["source"] == "big.cpp")
    assert first["exit"] != 0 and second["exit"] == 0
    others = [line for line in build.record() if line["source"] != "big.cpp"]
    assert all(line["end"] <= second["start"] + 0.01 or line["start"] >= second["end"] - 0.01 for line in others)


def test_compiler_killed_twice_fails_with_advice(tmp_path):
    build = Build(tmp_path, HOW="signal", KILLED='{"big.cpp": 9}')
    (tmp_path / "big.o").write_text("half")
    code, text = build.run("big")["big"]
    assert code == 137
    assert "was killed twice, the second time alone with" in text and "add swap" in text
    assert not (tmp_path / "big.o").exists(), "a half-written object must not stay"


def test_error_of_a_compiler_is_passed_on_once(tmp_path):
    build = Build(tmp_path)
    code, text = build.run("error")["error"]
    assert code == 1 and "no such thing" in text and "tried again" not in text
    assert len(build.record()) == 1


def test_launcher_that_died_frees_its_place(tmp_path):
    build = Build(tmp_path, MAX_JOBS="1", SECONDS_EACH="30")
    stuck = build.start("a")
    while (
        not (tmp_path / "compile_jobs.json").exists()
        or '"running": [{' not in (tmp_path / "compile_jobs.json").read_text()
    ):
        time.sleep(0.02)
    os.killpg(stuck.pid, signal.SIGKILL)
    stuck.communicate()
    build.environment["SECONDS_EACH"] = "0"
    assert build.run("b")["b"][0] == 0


def test_max_jobs_that_is_no_number_is_refused(tmp_path):
    code, text = Build(tmp_path, MAX_JOBS="many").run("a")["a"]
    assert code == 1 and "MAX_JOBS is 'many': set it to a number of compile processes" in text


@pytest.mark.parametrize(
    ("program", "lines", "expected"),
    [("ccache", "direct_cache_hit", "hit"), ("ccache", "cache_miss", "miss"), ("sccache", "", "hit")],
)
def test_cache_hits_are_recorded(tmp_path, program, lines, expected):
    """A made-up cache that says what the real ones say: ccache in its statistics log, sccache nothing."""
    cache = tmp_path / program
    cache.write_text(f'#!/bin/sh\n[ -z "$CCACHE_STATSLOG" ] || echo {lines} > "$CCACHE_STATSLOG"\nexit 0\n')
    cache.chmod(0o755)
    command = [sys.executable, "-ES", LAUNCHER, tmp_path, tmp_path, "", cache, "c++", "-c", "a.cpp", "-o", "a.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (line,) = Build.record(Build(tmp_path))
    assert line["cache"] == expected
    assert (line["peak_rss_kb"] is None) == (program == "sccache"), "sccache compiles in a process of its own"


def test_source_and_object():
    command = ["nvcc", "-x", "cu", "-c", "/root/csrc/a.cu", "-o", "/elsewhere/a.cu.o"]
    assert source_and_object(command, "/root") == ("csrc/a.cu", "/elsewhere/a.cu.o")


def test_messages_of_killed_compilers():
    assert was_killed(137, b"")
    assert was_killed(1, b"nvcc error   : 'cicc' died due to signal 9 (Kill signal)")
    assert not was_killed(0, b"Killed signal terminated")
    assert not was_killed(1, b"error: expected ';'")
    assert not was_killed(139, b"Segmentation fault")


def test_shipped_costs_are_of_sources_that_exist():
    costs = compile_jobs.shipped_costs(str(ROOT / "cmake/compile_costs.json"))
    assert len(costs) > 10
    assert all(set(cost) == {"peak_rss_kb", "seconds"} for cost in costs.values())
    assert [source for source in costs if not (ROOT / source).exists()] == []


def test_queue_expects_more_of_device_sources(tmp_path):
    state = {"costs": {}}
    queue = Queue(str(tmp_path))
    assert queue._expected_rss_kb(state, "a.cu") > queue._expected_rss_kb(state, "a.cpp")


def test_shipped_costs_are_of_one_thread_and_measured_ones_of_as_many_as_there_are(tmp_path):
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({"a.cu": {"peak_rss_kb": 300_000, "seconds": 9.0}}))
    queue = Queue(str(tmp_path), str(costs))
    assert queue._expected_rss_kb({"costs": {}}, "a.cu") == 300_000
    assert queue._expected_rss_kb({"costs": {}}, "a.cu", threads=4) == 1_200_000
    measured = {"costs": {"a.cu": {"peak_rss_kb": 700_000, "seconds": 5.0}}}
    assert queue._expected_rss_kb(measured, "a.cu", threads=4) == 700_000


def test_threads_of_a_compiler():
    assert compiler_threads(["nvcc", "--threads=4", "-c", "a.cu"]) == 4
    assert compiler_threads(["nvcc", "-c", "a.cu"]) == compiler_threads(["c++", "--threads=", "a.cpp"]) == 1
