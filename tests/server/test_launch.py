"""Starting the server: addresses, and what is refused before a model is loaded."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys

import pytest

from support.server import Server, run_vllm
from vllm.entrypoints.openai.api_server import run_server
from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.exceptions import VLLMValidationError
from vllm.utils.argparse_utils import FlexibleArgumentParser


def refused(*words: str, **options) -> str:
    """Runs a command that must fail with status 2 and one line on stderr, and returns that line."""
    result = run_vllm(*words, **options)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stdout == ""
    return result.stderr


def test_port_zero_picks_one_and_prints_it(server):
    assert server.ready_line.startswith("vllm ")
    assert "tiny" in server.ready_line
    assert int(server.url.rsplit(":", 1)[1]) > 0


PROGRAM = """
import asyncio
from vllm.entrypoints.common.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.openai.api_server import run_server
from vllm.utils.argparse_utils import FlexibleArgumentParser

args = make_arg_parser(FlexibleArgumentParser()).parse_args()
validate_parsed_serve_args(args)
asyncio.run(run_server(args))
"""


def test_a_program_serves_in_its_own_loop(tiny_model):
    with Server(tiny_model, "--served-model-name", "mine", command=(sys.executable, "-c", PROGRAM)) as server:
        assert server.http.get("/v1/models").json()["data"][0]["id"] == "mine"
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("flags", "options", "expected"),
    [
        (["/no/model"], {}, "/no/model does not exist"),
        (["m"], {"log_level": "debug"}, "log_level is not offered yet"),
        (["/no/model", "--chat-template", "/no/template"], {}, "chat template /no/template: No such file"),
    ],
)
def test_a_program_learns_what_is_refused(flags, options, expected):
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(flags)
    with pytest.raises(VLLMValidationError, match=expected):
        validate_parsed_serve_args(args)
        asyncio.run(run_server(args, **options))


def test_port_in_use(tiny_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused("serve", str(tiny_model), "--port", port)
    assert f"port {port}" in line and "in use" in line and "--port" in line


def test_host_that_is_not_of_this_machine(tiny_model):
    assert "--host" in refused("serve", str(tiny_model), "--host", "192.0.2.1", "--port", "0")
    assert "--host" in refused("serve", str(tiny_model), "--host", "no.such.host.invalid")


def test_unix_socket(tiny_model, tmp_path):
    path = tmp_path / "socket"
    with Server(tiny_model, "--uds", str(path)) as server:
        assert server.url == f"unix:{path}"
        assert server.http.get("/health").status_code == 200
        assert "in use" in refused("serve", str(tiny_model), "--uds", str(path))
        server.process.kill()
        server.process.wait()
    assert path.exists()  # left by the kill, and replaced by the next server
    with Server(tiny_model, "--uds", str(path)) as server:
        assert server.http.get("/health").status_code == 200
        assert server.stop() == 0
    assert not path.exists()


def test_file_is_not_replaced_by_a_socket(tiny_model, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    assert "--uds" in refused("serve", str(tiny_model), "--uds", str(path))
    assert path.read_text() == "mine"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> list[tuple[str, str]]:
    """Two keys, each with a certificate that is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    made = [(str(folder / f"{name}.key"), str(folder / f"{name}.pem")) for name in ("server", "client")]
    try:
        for key, certificate in made:
            subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl makes the certificates")
    return made


def health_over_tls(server: Server, authority: str, own: tuple[str, str] | None = None) -> int:
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    if own is not None:
        context.load_cert_chain(own[1], own[0])
    connection = http.client.HTTPSConnection(server.url.removeprefix("https://"), context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        return connection.getresponse().status


def test_tls(tiny_model, certificates):
    (key, certificate), client = certificates
    with Server(tiny_model, "--ssl-keyfile", key, "--ssl-certfile", certificate) as server:
        assert health_over_tls(server, certificate) == 200
        benchmark = ("bench", "serve", "--base-url", server.url, "--num-prompts", "1", "--input-len", "4")
        assert "does not answer" in run_vllm(*benchmark).stderr
        assert run_vllm(*benchmark, "--output-len", "2", "--insecure").returncode == 0
    with Server(tiny_model, "--ssl-keyfile", key, "--ssl-certfile", certificate, "--ssl-ca-certs", client[1]) as server:
        assert health_over_tls(server, certificate, client) == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            health_over_tls(server, certificate)


def test_tls_files_that_do_not_serve(tiny_model, certificates, tmp_path):
    (key, certificate), (other_key, _) = certificates
    line = refused("serve", str(tiny_model), "--ssl-certfile", str(tmp_path / "none"))
    assert "--ssl-certfile" in line
    line = refused("serve", str(tiny_model), "--ssl-certfile", certificate, "--ssl-keyfile", other_key)
    assert "--ssl-certfile and --ssl-keyfile: key values mismatch" in line
    (tmp_path / "damaged").write_text("-----BEGIN CERTIFICATE-----\nx\n")
    pair = ("--ssl-certfile", certificate, "--ssl-keyfile", key)
    assert "--ssl-ca-certs: " in refused("serve", str(tiny_model), *pair, "--ssl-ca-certs", str(tmp_path / "damaged"))
    assert "--ssl-cert-reqs needs --ssl-ca-certs" in refused("serve", str(tiny_model), *pair, "--ssl-cert-reqs", "2")


def test_model_folder_that_is_missing(tmp_path):
    assert "does not exist" in refused("serve", str(tmp_path / "none"))


def test_no_model():
    assert "MODEL" in refused("serve")


def test_two_models(tiny_model):
    assert "two models" in refused("serve", str(tiny_model), "--model", "other")


def test_weights_that_are_damaged(tiny_model, tmp_path):
    folder = copy_model(tiny_model, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(b"\xff" * 100)
    assert "model.safetensors" in refused("serve", str(folder), "--port", "0")


def test_tokenizer_that_is_damaged(tiny_model, tmp_path):
    folder = copy_model(tiny_model, tmp_path / "model")
    (folder / "tokenizer.json").write_text("{")
    assert "tokenizer.json" in refused("serve", str(folder), "--port", "0")


def test_architecture_that_is_unknown(tiny_model, tmp_path):
    folder = copy_model(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["NoSuchForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    assert "NoSuchForCausalLM" in refused("serve", str(folder), "--port", "0")


def test_chat_template_that_is_missing(tiny_model, tmp_path):
    assert "chat template none.jinja: No such file" in refused(
        "serve", str(tiny_model), "--port", "0", "--chat-template", "none.jinja"
    )


def test_template_argument_that_is_none(tiny_model):
    words = ("--port", "0", "--default-chat-template-kwargs.messages", "[]")
    assert "kwargs: messages is not an argument" in refused("serve", str(tiny_model), *words)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--port", "70000"),
        ("--port", "-1"),
        ("--port", "web"),
        ("--max-model-len", "0"),
        ("--max-model-len", "1000000"),
        ("--block-size", "7"),
        ("--dtype", "int4"),
        ("--max-num-seqs", "0"),
        ("--uvicorn-log-level", "loud"),
        ("--shutdown-timeout", "-1"),
        ("--shutdown-timeout", "nan"),
        ("--override-generation-config", "{"),
        ("--allowed-origins", "[x"),
    ],
)
def test_values_that_are_not_accepted(tiny_model, flag, value):
    # The `=` keeps argparse from taking a negative number for a flag.
    words = [f"{flag}={value}"]
    assert flag.lstrip("-").replace("-", "_") in refused("serve", str(tiny_model), *words).replace("-", "_")


@pytest.mark.parametrize("module", ["openai.api_server", "launchers.api_server.entry"])
def test_module_of_the_server_is_the_same_command(tmp_path, module):
    command = [sys.executable, "-m", f"vllm.entrypoints.{module}", "--model", str(tmp_path / "none")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert "does not exist" in result.stderr


def copy_model(source, target):
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target
