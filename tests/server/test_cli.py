"""The `vllm` command, without a server."""

import re
import subprocess
import sys

import pytest

import vllm
from support.server import run_vllm
from vllm.engine.upstream_arguments import NOT_OFFERED_FLAGS
from vllm.entrypoints.cli.parser import CommandParser
from vllm.entrypoints.cli.registry import COMMANDS
from vllm.entrypoints.cli.serve import add_arguments

# Flags of `vllm serve` that vLLM's users write most.
KNOWN_FLAGS = """--host --port --uds --api-key --served-model-name --tokenizer --revision --download-dir --load-format
--dtype --quantization --kv-cache-dtype --max-model-len --max-num-seqs --max-num-batched-tokens --block-size
--gpu-memory-utilization --kv-cache-memory-bytes --enable-prefix-caching --enable-chunked-prefill --enforce-eager
--attention-backend --tensor-parallel-size --pipeline-parallel-size --data-parallel-size
--distributed-executor-backend --chat-template --chat-template-content-format --generation-config
--override-generation-config --response-role --return-tokens-as-token-ids --enable-auto-tool-choice
--tool-call-parser --reasoning-parser --enable-lora --lora-modules --max-loras --max-lora-rank --max-cpu-loras
--speculative-config --structured-outputs-config --seed --trust-remote-code --hf-overrides --hf-token --config
--root-path --allowed-origins --ssl-keyfile --ssl-certfile --ssl-ca-certs --disable-log-stats
--enable-log-requests --uvicorn-log-level --max-logprobs --logits-processors --scheduling-policy --swap-space
--cpu-offload-gb --sleep-mode --api-server-count --headless --nnodes --node-rank --master-addr --master-port
--grpc -n -r -dpl -ep --numa-bind-nodes --mamba-backend --max-num-scheduled-tokens --jit-monitor-mode --logging-config
--prefix-cache-retention-interval --watermark-config""".split()


@pytest.fixture
def parser() -> CommandParser:
    parser = CommandParser(prog="vllm serve")
    add_arguments(parser)
    return parser


def imported_by(*words: str) -> set[str]:
    """Top-level modules that a command line has imported when it ends."""
    code = (
        "import sys\nfrom vllm.entrypoints.cli.main import main\n"
        f"try:\n    main({list(words)!r})\nexcept SystemExit:\n    pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


@pytest.mark.parametrize(
    "words", [["--version"], ["--help"], ["serve", "--help"], ["chat", "--help"], ["complete", "--help"]], ids=" ".join
)
def test_help_imports_nothing_slow(words):
    slow = {"torch", "numpy", "fastapi", "starlette", "pydantic", "uvicorn", "httpx", "tokenizers", "transformers"}
    assert not imported_by(*words) & slow


def test_version():
    for flag in ("--version", "-v"):
        assert run_vllm(flag).stdout == f"{vllm.__version__}\n"
    assert vllm.__version__.split(".")[:3] == [str(part) for part in vllm.__version_tuple__[:3]]


@pytest.mark.parametrize("command", [c.name for c in COMMANDS])
def test_each_command_has_help(command):
    result = run_vllm(command, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: vllm {command}")


def test_serve_help_is_grouped():
    text = run_vllm("serve", "--help").stdout
    for word in (
        "network:",
        "access:",
        "answers:",
        "model:",
        "KV cache:",
        "scheduler:",
        "--max-model-len",
        "--api-key",
        "--help=GROUP",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sevre"], "no command 'sevre'"),
        (["run-batch"], "run-batch is not offered yet"),
        (["bench", "sweep"], "vllm bench sweep is not offered yet; run `vllm bench` once for each setting"),
        (["serve", "run-batch", "--port", "x"], "'x' is not a port"),
        (["serve", "m", "--max-model-length", "5"], "did you mean --max-model-len?"),
        (["serve", "m", "--frobnicate"], "unknown flag --frobnicate"),
        (["serve", "m", "second"], "unexpected argument 'second'"),
        (["serve", "m", "--tool-call-parser", "hermes"], "--tool-call-parser is not offered yet"),
        (["serve", "m", "--enable-lora"], "enable_lora"),
        (["serve", "m", "--structured-outputs-config.a", "3"], "structured_outputs_config={'a': 3} is not offered yet"),
        (["serve", "m", "--max-model"], "unknown flag --max-model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_one_line_and_status_two(words, said):
    result = run_vllm(*words)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_no_command_shows_the_commands():
    result = run_vllm()
    assert result.returncode == 2
    assert "serve" in result.stderr


@pytest.mark.parametrize("flag", KNOWN_FLAGS)
def test_flags_of_vllm_are_offered_or_refused_by_name(parser, flag):
    assert flag in parser._option_string_actions or flag in NOT_OFFERED_FLAGS


def test_no_flag_is_both_offered_and_refused(parser):
    assert not NOT_OFFERED_FLAGS.keys() & parser._option_string_actions.keys()


def test_flags_may_have_underscores(parser):
    args = parser.parse_args(["m_x", "--max_model_len=77", "--served_model_name", "a_b"])
    assert (args.model_tag, args.max_model_len, args.served_model_name) == ("m_x", 77, ["a_b"])


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (
            ["--speculative-config.method", "ngram", "-sc.num_speculative_tokens=4"],
            "speculative_config",
            {"method": "ngram", "num_speculative_tokens": 4},
        ),
        (["--hf_overrides.rope_theta", "5"], "hf_overrides", {"rope_theta": 5}),
        (["--hf_overrides.a", "8k", "--hf_overrides.b=8x"], "hf_overrides", {"a": 8000, "b": "8x"}),
        (["--override-generation-config.temperature=0.5"], "override_generation_config", {"temperature": 0.5}),
        (
            ["--hf-overrides.rope_scaling.factor", "-2", "--hf-overrides.a+", "x,1", "--hf-overrides.a+=y"],
            "hf_overrides",
            {"rope_scaling": {"factor": -2}, "a": ["x", 1, "y"]},
        ),
        (["-q", "int8"], "quantization", "int8"),
        (["-pp", "1", "-dp", "1"], "pipeline_parallel_size", 1),
        (["--no-allow-credentials"], "allow_credentials", False),
        (["--disable-uvicorn-access-log"], "disable_uvicorn_access_log", True),
        (["--enable-uvicorn-access-log"], "disable_uvicorn_access_log", False),
        (["--no-enable-expert-parallel", "--no_enable_auto_tool_choice", "--disable-eplb"], "model_tag", "m"),
        (["--disable-log-requests"], "enable_log_requests", False),
        (["--disable-custom-all-reduce"], "model_tag", "m"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_as_vllms_users_write_them(parser, words, field, value):
    for given in (["m", *words], [*words, "m"]):
        assert getattr(parser.parse_args(given), field) == value


@pytest.mark.parametrize(
    ("part", "shown", "hidden"),
    [
        ("all", "--max-model-len", "--enable-lora"),
        ("listgroup", "scheduler", "--max-num-seqs"),
        ("CacheConfig", "--block-size", "--max-num-seqs"),
        ("max_num", "--max-num-seqs", "--block-size"),
        ("prefix", "--enable-prefix-caching, --disable-prefix-caching", "--no-enable-prefix-caching"),
        ("frobnicate", "no flag has that in its name", "--max-num-seqs"),
    ],
)
def test_help_about_a_part(parser, capsys, part, shown, hidden):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([f"--help={part}"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and shown in text and hidden not in text


def test_flags_given_twice_are_warned_of(parser, caplog):
    words = ["m", "--port=1", "-q", "int8", "--port", "2", "--hf-overrides.a=1", "--hf_overrides.a", "2"]
    args = parser.parse_args([*words, "--api-key", "a", "--api-key", "b", "--quantization=int4"])
    assert (args.port, args.hf_overrides, args.api_key) == (2, {"a": 2}, ["a", "b"])
    (record,) = caplog.records
    assert record.message.endswith("counts: --port, --hf-overrides.a, --quantization")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hf-overrides.a"], "--hf-overrides.a needs a value"),
        (["--hf-overrides.a", "--port", "1"], "--hf-overrides.a needs a value"),
        (["--hf-overrides.", "1"], "--hf-overrides. has an empty key"),
        (["--hf-overrides.a=1", "--hf-overrides.a.b=1"], "--hf-overrides.a.b: a was given a value before"),
        (["--hf-overrides.a=1", "--hf-overrides.a+=1"], "--hf-overrides.a+: a was given a value before"),
        (["--hf-overrides={}", "--hf-overrides.a=1"], "--hf-overrides is given whole and by its keys"),
        (["-sc={}", "--speculative-config.method=ngram"], "--speculative-config is given whole and by its keys"),
        (["--max-model-len.a=1"], "unknown flag --max-model-len.a; did you mean --max-model-len?"),
        (["--reasoning-effort-map.medium", "low"], "is not offered yet: reasoning is not split from the answer"),
        (["-cc.mode=3"], "-cc.mode is not offered yet: kernels are compiled ahead of time"),
        (["-O.mode=3"], "-O.mode is not offered yet: kernels are compiled ahead of time"),
        (["-dpr", "1"], "-dpr is not offered yet: a model runs once"),
        (["--watermark-config", "{}"], "--watermark-config is not offered yet: sampling cannot"),
        (["--disable-access-log-for-endpoints", "/health"], "is not offered yet: what is logged depends on"),
        (["-O3"], "-O3 is not offered yet: kernels are compiled ahead of time"),
        (["--grpc"], "--grpc is not offered yet: the server answers over HTTP alone"),
        (["--no-moe-backend.a"], "unknown flag --no-moe-backend.a"),
        (["--no-frobnicate"], "unknown flag --no-frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_are_refused(parser, capsys, words, said):
    with pytest.raises(SystemExit):
        parser.parse_args(["m", *words])
    assert said in (error := capsys.readouterr().err)
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("words", [["given"], ["--port", "1", "given"], ["--model", "given"]], ids=" ".join)
def test_the_model_of_the_command_line_wins(parser, tmp_path, words):
    path = tmp_path / "config.yaml"
    path.write_text("model: folder\nport: 9000\n")
    args = parser.parse_args([*words, "--config", str(path)])
    assert [name for name in (args.model_tag, args.model) if name] == ["given"]


def test_config_file_gives_flags_and_the_command_line_wins(parser, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "model: folder\nport: 9000\nmax_model_len: 64\nserved-model-name: [a, b]\nallow-credentials: true\n"
        "enable-prefix-caching: false\noverride-generation-config: {top_k: 3}\n"
    )
    args = parser.parse_args(["--config", str(path), "--port", "9001"])
    assert (args.model, args.port, args.max_model_len) == ("folder", 9001, 64)
    assert args.served_model_name == ["a", "b"]
    assert args.allow_credentials is True
    assert args.enable_prefix_caching is False
    assert args.override_generation_config == {"top_k": 3}
    assert parser.parse_args(["given", f"--config={path}"]).model_tag == "given"


def test_config_file_with_keys_of_json_and_with_what_asks_for_nothing(parser, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "speculative_config.method: ngram\nspeculative-config.num_speculative_tokens: 4\nhf-overrides.a: [x]\n"
        "enable-expert-parallel: false\nstream_interval: 1\nallow-credentials: false\npipeline-parallel-size: 1\n"
    )
    args = parser.parse_args(["m", "--config", str(path), "--hf-overrides.b", "1"])
    assert args.speculative_config == {"method": "ngram", "num_speculative_tokens": 4}
    assert (args.hf_overrides, args.allow_credentials) == ({"b": 1}, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prot: 1", "'prot'"),
        ("- a", "mapping"),
        ("a: [", "not YAML"),
        ("config: x", "'config'"),
        ("port: web", "port"),
        ("tool-call-parser: hermes", "--tool-call-parser is not offered yet: tool calls"),
        ("reasoning-effort-map.a: b", "--reasoning-effort-map.a is not offered yet"),
    ],
)
def test_config_file_mistakes(tmp_path, content, said):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    result = run_vllm("serve", "m", "--config", str(path))
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_config_file_that_is_missing(tmp_path):
    assert "No such file" in run_vllm("serve", "m", "--config", str(tmp_path / "none")).stderr


def test_collect_env_keeps_secrets():
    import os

    result = run_vllm("collect-env", env={**os.environ, "VLLM_API_KEY": "hush", "VLLM_CPU_ISA": "avx2"})
    assert result.returncode == 0
    assert "hush" not in result.stdout
    assert "avx2" in result.stdout
    assert vllm.__version__ in result.stdout


def test_chat_answers(server):
    words = ["--url", f"{server.url}/v1", "--max-tokens", "6", "--temperature", "0"]
    quick = run_vllm("chat", *words, "-q", "hello")
    assert (quick.returncode, quick.stderr) == (0, "")
    assert quick.stdout.strip()
    typed = run_vllm("chat", *words, input="hello\n\nand more\n")
    assert typed.stdout.startswith(quick.stdout)
    assert len(typed.stdout) > len(quick.stdout)
    timed = run_vllm("chat", *words, "--stats", "-q", "hello").stdout
    assert timed.startswith(quick.stdout)
    assert re.fullmatch(
        r"TTFT: [\d.]+ ms\nTPS:  [\d.]+ tokens/s \(\d tokens in [\d.]+s\)\n", timed[len(quick.stdout) :]
    )


def test_complete_answers(server):
    words = ["--url", f"{server.url}/v1", "--model-name", "alias", "--max-tokens", "6", "--temperature", "0"]
    result = run_vllm("complete", *words, "-q", "hello")
    body = {"prompt": "hello", "max_tokens": 6, "temperature": 0}
    expected = server.http.post("/v1/completions", json=body).json()["choices"][0]["text"]
    assert result.stdout.rstrip("\n") == "\n".join(expected.splitlines()) or result.stdout == expected + "\n"


def test_chat_without_server_or_with_a_wrong_model(server):
    result = run_vllm("chat", "--url", "http://127.0.0.1:9/v1", "-q", "hello")
    assert result.returncode == 2
    assert "vllm serve" in result.stderr
    result = run_vllm("chat", "--url", f"{server.url}/v1", "--model-name", "other", "-q", "hello")
    assert result.returncode == 2
    assert "other" in result.stderr
