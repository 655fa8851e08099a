"""From start to end: requests that are given up, engines that die, interrupts."""

import json
import signal
import socket
import subprocess
import tempfile
import threading
import time
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from support.server import COMMAND, Server, post_events, wait_until

LONG = {"prompt": "on and on", "max_tokens": 4000, "ignore_eos": True}


@pytest.fixture
def own_server(tiny_model):
    with Server(tiny_model, "--max-model-len", "4096") as running:
        yield running


def in_background(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_client_that_leaves_a_stream_frees_its_request(server):
    with server.client() as client, client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as response:
        lines = response.iter_lines()
        next(lines)
        assert server.metric("num_requests_running") >= 1
    server.wait_idle()
    assert server.http.get("/load").json() == {"server_load": 0}


def test_client_that_leaves_before_the_answer_frees_its_request(server):
    with server.client() as client:
        client.timeout = httpx.Timeout(0.3)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json={**LONG, "n": 4})
    server.wait_idle()


def test_requests_run_together(server):
    """A short request does not wait for a long one."""
    with server.client() as client, client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as response:
        lines = response.iter_lines()
        next(lines)
        answer = server.http.post("/v1/completions", json={"prompt": "short", "max_tokens": 3})
        assert answer.status_code == 200
        assert server.metric("num_requests_running") == 1


def test_engine_that_dies_is_replaced_and_its_requests_hear_why(own_server):
    server, answers = own_server, {}

    def ask(name: str, stream: bool) -> None:
        with server.client() as client:
            if stream:
                answers[name] = post_events(client, "/v1/completions", LONG)
            else:
                answers[name] = client.post("/v1/completions", json=LONG)

    threads = [in_background(lambda: ask("plain", False)), in_background(lambda: ask("streamed", True))]
    wait_until(lambda: server.metric("num_requests_running") == 2, what="two running requests")
    first_core = server.core.pid
    server.core.kill()
    for thread in threads:
        thread.join(30)
    assert answers["plain"].status_code == 500
    assert "SIGKILL" in answers["plain"].json()["error"]["message"]
    assert answers["streamed"][-1] == "[DONE]"
    assert "SIGKILL" in json.loads(answers["streamed"][-2])["error"]["message"]
    wait_until(lambda: server.http.get("/health").status_code == 200, 60, "a healthy server")
    assert server.core.pid != first_core
    assert "SIGKILL" in server.errors() and "ready again" in server.errors()
    assert server.http.post("/v1/completions", json={"prompt": "x", "max_tokens": 2}).status_code == 200
    assert server.metric("num_requests_running") == 0


def test_without_engine_requests_are_refused_with_the_cause(own_server):
    own_server.core.kill()
    wait_until(lambda: own_server.http.get("/health").status_code == 503, what="an unhealthy server")
    refusals = []
    while (response := own_server.http.post("/v1/completions", json={"prompt": "x"})).status_code != 200:
        assert response.status_code == 503
        assert response.headers["retry-after"]
        refusals.append(response.json()["error"]["message"])
        assert "engine process" in refusals[-1] and "is being started again" in refusals[-1]
    assert not refusals or any("SIGKILL" in refusal for refusal in refusals)  # [] where the next engine was faster


def test_server_gives_up_when_engines_keep_dying(own_server):
    """Also while a client has not sent its request to the end."""
    address = urlsplit(own_server.url)
    client = socket.create_connection((address.hostname, address.port))
    client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    deadline = time.monotonic() + 120
    while own_server.process.poll() is None and time.monotonic() < deadline:
        for child in own_server_children(own_server):
            child.kill()
        time.sleep(0.1)
    client.close()
    assert own_server.process.returncode == 1
    assert "SIGKILL" in own_server.errors().splitlines()[-1]


def own_server_children(server: Server):
    try:
        return psutil.Process(server.process.pid).children()
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_lets_running_requests_end(tiny_model, signum):
    with Server(tiny_model) as server:
        body = {"prompt": "x", "max_tokens": 400, "ignore_eos": True, "stream": True}
        with server.client() as client, client.stream("POST", "/v1/completions", json=body) as response:
            lines = (line for line in response.iter_lines() if line)
            events = [next(lines)]
            server.process.send_signal(signum)
            events += list(lines)
        assert events[-1] == "data: [DONE]"
        assert json.loads(events[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        assert server.process.wait(30) == 0


def test_second_signal_ends_running_requests_with_an_error(tiny_model):
    with Server(tiny_model, "--max-model-len", "8192") as server:
        body = {"prompt": "x", "max_tokens": 8000, "ignore_eos": True, "stream": True}
        with server.client() as client, client.stream("POST", "/v1/completions", json=body) as response:
            lines = (line for line in response.iter_lines() if line)
            next(lines)
            server.interrupt()
            wait_until(lambda: refuses_connections(server), what="a refused connection")
            assert server.process.poll() is None
            server.interrupt()
            events = list(lines)
        assert events[-1] == "data: [DONE]"
        assert "shut down" in json.loads(events[-2].removeprefix("data: "))["error"]["message"]
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.errors()


def refuses_connections(server: Server) -> bool:
    try:
        with server.client() as other:
            other.get("/health")
    except httpx.TransportError:
        return True
    return False


def test_shutdown_timeout_ends_running_requests(tiny_model):
    with Server(tiny_model, "--max-model-len", "8192", "--shutdown-timeout", "0.2") as server:
        body = {"prompt": "x", "max_tokens": 8000, "ignore_eos": True}
        answers = []
        with server.client() as client:
            thread = in_background(lambda: answers.append(client.post("/v1/completions", json=body)))
            wait_until(lambda: server.metric("num_requests_running") == 1, what="a running request")
            server.interrupt()
            thread.join(30)
        assert answers[0].status_code == 500
        assert "shut down" in answers[0].json()["error"]["message"]
        assert server.process.wait(30) == 0


def test_idle_server_ends_at_once_and_takes_its_engine_along(tiny_model):
    with Server(tiny_model) as server:
        core = server.core
        server.interrupt()
        assert server.process.wait(30) == 0
        wait_until(lambda: not core.is_running(), what="the engine's end")


def test_engine_does_not_outlive_a_killed_server(tiny_model):
    with Server(tiny_model) as server:
        core = server.core
        server.process.kill()
        wait_until(lambda: not core.is_running() or core.status() == "zombie", what="the engine's end")


def test_engine_does_not_outlive_a_server_that_is_killed_while_loading(tiny_model):
    process = subprocess.Popen([*COMMAND, "serve", str(tiny_model), "--port", "0"], cwd=tempfile.gettempdir())
    parent = psutil.Process(process.pid)
    wait_until(lambda: bool(parent.children()), what="an engine process")
    core = parent.children()[0]
    process.kill()
    process.wait()
    wait_until(lambda: not core.is_running() or core.status() == "zombie", what="the engine's end")
