"""`vllm bench` on a tiny model: figures that fit together, and refusals."""

import json
import re
from pathlib import Path

import pytest

from support.server import Server, run_vllm

ENGINE = ("--max-model-len", "256", "--kv-cache-memory-bytes", "16M")


def bench(tmp_path: Path, *words: str) -> tuple[dict, str]:
    """Runs a benchmark; returns its JSON and what it printed."""
    output = tmp_path / "result.json"
    done = run_vllm("bench", *words, "--output-json", str(output))
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text()), done.stdout


def test_latency(tmp_path: Path, tiny_model: Path) -> None:
    flags = (
        "--input-len",
        "9",
        "--output-len",
        "6",
        "--batch-size",
        "3",
        "--num-iters-warmup",
        "1",
        "--num-iters",
        "4",
    )
    figures, printed = bench(tmp_path, "latency", "--model", str(tiny_model), *flags, *ENGINE)
    assert len(figures["latencies"]) == 4
    assert all(seconds > 0 for seconds in figures["latencies"])
    assert min(figures["latencies"]) <= figures["percentiles"]["50"] <= max(figures["latencies"])
    assert figures["avg_latency"] == pytest.approx(sum(figures["latencies"]) / 4)
    assert "4 runs of 3 requests, 9 tokens in, 6 out" in printed
    reached = figures["roofline"]
    assert (reached["prefill"]["steps"], reached["decode"]["steps"]) == (4, 20)
    assert reached["limits"]["bytes_per_second"] > 0
    assert 0 < reached["decode"]["memory"] < 10 and 0 < reached["prefill"]["arithmetic"] < 10
    assert re.search(r"decode reached [\d.]+ % of the memory limit, prefill [\d.]+ % of the arithmetic limit", printed)


def test_throughput(tmp_path: Path, tiny_model: Path) -> None:
    flags = ("--num-prompts", "10", "--input-len", "12", "--output-len", "5")
    figures, printed = bench(tmp_path, "throughput", "--model", str(tiny_model), *flags, *ENGINE)
    assert (figures["num_requests"], figures["num_prompt_tokens"], figures["num_output_tokens"]) == (10, 120, 50)
    assert figures["tokens_per_second"] == pytest.approx(170 / figures["elapsed_time"])
    assert "output tokens per second" in printed
    assert "of the memory limit" in printed and figures["roofline"]["decode"]["steps"] > 0


def test_profile_is_a_page(tmp_path: Path, tiny_model: Path) -> None:
    flags = ("--batch-size", "2", "--output-len", "4", "--num-iters-warmup", "0", "--num-iters", "1")
    page = tmp_path / "step.html"
    _, printed = bench(
        tmp_path, "latency", "--model", str(tiny_model), "--input-len", "8", "--profile", str(page), *flags, *ENGINE
    )
    assert f"profile of prefill and decode, run op by op instead of replayed: {page}" in printed
    assert "paged_attention_varlen" in page.read_text()


def test_a_profile_that_cannot_be_written_is_refused_first(tmp_path: Path, tiny_model: Path) -> None:
    done = run_vllm("bench", "throughput", "--model", str(tiny_model), "--profile", str(tmp_path / "no" / "x.html"))
    assert done.returncode != 0
    assert "--profile" in done.stderr and "a folder that exists" in done.stderr


@pytest.mark.parametrize("backend", ["openai", "openai-chat"])
def test_serve(tmp_path: Path, server: Server, backend: str) -> None:
    flags = ("--num-prompts", "8", "--random-input-len", "10", "--random-output-len", "6", "--max-concurrency", "3")
    figures, printed = bench(tmp_path, "serve", "--base-url", server.url, "--backend", backend, *flags)
    assert (figures["completed"], figures["failed"], figures["model_id"]) == (8, 0, "tiny")
    assert figures["total_output_tokens"] == 48
    if backend == "openai":
        assert figures["total_input_tokens"] == 80
    assert figures["output_throughput"] == pytest.approx(48 / figures["duration"])
    assert 0 < figures["mean_ttft_ms"] <= figures["mean_e2el_ms"] <= 1000 * figures["duration"]
    assert figures["median_e2el_ms"] <= figures["p99_e2el_ms"]
    assert "8 of 8 requests answered" in printed


def test_serve_spreads_requests_at_a_rate(tmp_path: Path, server: Server) -> None:
    flags = ("--num-prompts", "5", "--random-input-len", "4", "--random-output-len", "2", "--request-rate", "20")
    metrics = ("--percentile-metrics", "ttft", "--metric-percentiles", "50,90")
    figures, _ = bench(tmp_path, "serve", "--base-url", server.url, *flags, *metrics)
    assert figures["request_rate"] == 20
    assert {"p50_ttft_ms", "p90_ttft_ms"} <= set(figures)
    assert not [name for name in figures if "e2el" in name]


def test_serve_says_what_requests_ask_for_and_got(tmp_path: Path, server: Server) -> None:
    lengths = ("--num-prompts", "3", "--input-len", "4", "--output-len", "2", "--label", "mine", "--tokenizer", "any")
    asked = ("--top-p", "0.9", "--top-k", "5", "--logprobs", "1", "--extra-body", '{"stop_token_ids": [1]}')
    goodput = (
        "--goodput",
        "ttft:60000",
        "e2el:60000",
        "--save-detailed",
        "--header",
        "X-Some=a",
        "--request-id-prefix",
        "b-",
    )
    figures, printed = bench(tmp_path, "serve", "--base-url", server.url, *lengths, *asked, *goodput)
    assert (figures["label"], figures["tokenizer_id"], figures["endpoint_type"]) == ("mine", "any", "openai")
    assert (figures["input_lens"], figures["output_lens"]) == ([4] * 3, [2] * 3)
    assert len(figures["ttfts"]) == len(figures["itls"]) == len(figures["latencies"]) == 3
    assert all(figures["generated_texts"]) and figures["errors"] == [""] * 3
    assert figures["request_goodput"] == figures["request_throughput"] and "of these in time" in printed


def test_serve_writes_a_file_named_after_the_run(tmp_path: Path, server: Server) -> None:
    folder = tmp_path / "new" / "results"
    flags = ("--num-prompts", "2", "--random-input-len", "4", "--random-output-len", "2", "--max-concurrency", "2")
    words = ("bench", "serve", "--base-url", server.url, *flags, "--save-result", "--result-dir", str(folder))
    assert run_vllm(*words, "--metadata", "machine=a", "note=b=c").returncode == 0
    (found,) = folder.iterdir()
    assert re.fullmatch(r"openai-infqps-concurrency2-tiny-\d{8}-\d{6}\.json", found.name)
    figures = json.loads(found.read_text())
    assert (figures["completed"], figures["machine"], figures["note"]) == (2, "a", "b=c")
    assert run_vllm(*words, "--result-filename", "mine.json").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["mine.json", found.name]


def test_serve_with_a_sharegpt_file(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "chats.json"
    path.write_text(json.dumps([{"conversations": [{"value": "the quick brown fox"}, {"value": "jumps over"}]}] * 3))
    flags = (
        "--dataset-name",
        "sharegpt",
        "--dataset-path",
        str(path),
        "--num-prompts",
        "3",
        "--sharegpt-output-len",
        "4",
    )
    figures, _ = bench(tmp_path, "serve", "--base-url", server.url, *flags)
    assert figures["completed"] == 3


def test_startup(tmp_path: Path, tiny_model: Path) -> None:
    flags = ("--num-iters", "2", "--num-iters-warmup", "0")
    figures, printed = bench(tmp_path, "startup", "--model", str(tiny_model), *flags, *ENGINE)
    assert len(figures["startup_times"]) == 2
    assert figures["min"] == min(figures["startup_times"]) > 0
    assert "2 starts of" in printed


def test_help_lists_the_benchmarks() -> None:
    done = run_vllm("bench", "--help")
    assert done.returncode == 0
    for name in ("latency", "throughput", "serve", "startup"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("latency", "--model"), "--model"),
        (("latency", "--model", "x", "--batch-size", "0"), "0 is too small: give 1 or more"),
        (("latency", "--model", "x", "--num-iters", "many"), "'many' is not a whole number"),
        (("latency", "--model", "/nowhere/at/all"), "/nowhere/at/all"),
        (("throughput", "--model", "x", "--dataset-name", "sharegpt"), "go together"),
        (("throughput", "--model", "x", "--speed"), "--speed"),
        (("throughput", "--model", "x", "--random-range-ratio", "2"), "2 is out of range: give 0 or more, 1 or less"),
        (("serve", "--port", "9", "--num-prompts", "1"), "does not answer"),
        (("serve", "--request-rate", "0"), "give above 0"),
        (("serve", "--percentile-metrics", "speed"), "'speed'"),
        (("serve", "--metric-percentiles", "50,101"), "101"),
        (("serve", "--output-json", "/nowhere/at/all/x.json"), "--output-json"),
        (("serve", "--save-result", "--result-dir", "/proc/nothing"), "--result-dir /proc/nothing"),
        (("serve", "--result-filename", "x.json"), "--save-result"),
        (("serve", "--save-result", "--output-json", "x.json"), "give one of them"),
        (("serve", "--metadata", "x"), "KEY=VALUE"),
        (("serve", "--header", "x"), "--header has 'x': give KEY=VALUE"),
        (("serve", "--goodput", "itl:5"), "--goodput has 'itl': give names of ttft,tpot,e2el"),
        (("serve", "--goodput", "ttft:x"), "--goodput has ttft:x: 'x' is not a number"),
        (("serve", "--top-p", "2"), "2 is out of range"),
        (("startup", "--model", "/nowhere/at/all", "--num-iters", "1"), "/nowhere/at/all"),
        (("speed",), "latency, throughput, serve, startup"),
    ],
)
def test_refusals_are_one_line(words: tuple[str, ...], said: str) -> None:
    done = run_vllm("bench", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_serve_says_why_the_server_refuses(server: Server) -> None:
    flags = ("--base-url", server.url, "--num-prompts", "2", "--random-input-len", "600")
    done = run_vllm("bench", "serve", *flags)
    assert done.returncode == 2
    assert "512" in done.stderr


def test_serve_with_a_wrong_key(tiny_model: Path) -> None:
    with Server(tiny_model, "--api-key", "secret") as guarded:
        refused = run_vllm("bench", "serve", "--base-url", guarded.url, "--num-prompts", "1", "--api-key", "wrong")
        assert refused.returncode == 2
        assert "key" in refused.stderr
        flags = ("--num-prompts", "1", "--random-input-len", "4", "--random-output-len", "2", "--api-key", "secret")
        assert run_vllm("bench", "serve", "--base-url", guarded.url, *flags).returncode == 0
