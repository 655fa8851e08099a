"""The engine's process around a core of the test's own: what a real model does not do on demand."""

import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.engine import wire
from vllm.engine.wire import Kind
from vllm.messages import EngineRequest
from vllm.sampling_params import SamplingParams

CORE = """
import sys, types
from vllm.messages import EngineOutput, EngineStats
from vllm.exceptions import ModelError, VLLMValidationError

class EngineCore:
    def __init__(self, config, own_process):
        if config.model_config.model == "bad model":
            raise ModelError("config.json is damaged")
        if config.model_config.model == "no memory":
            raise MemoryError("8 GiB wanted\\nand more lines")
        self.requests = []
    def add_request(self, request):
        if request.request_id == "too large":
            raise VLLMValidationError("it can never fit", "prompt")
        self.requests.append(request.request_id)
    def abort_requests(self, ids):
        self.requests = [r for r in self.requests if r not in ids]
    def has_unfinished(self):
        return bool(self.requests)
    def step(self):
        if "poison" in self.requests:
            raise RuntimeError("a kernel failed")
        done, self.requests = self.requests, []
        return [EngineOutput(r, [5], "length") for r in done]
    def stats(self):
        return EngineStats(num_running=len(self.requests), kv_cache_tokens=77)
    def reset_prefix_cache(self):
        return not self.requests

module = types.ModuleType("vllm.engine.core")
module.EngineCore = EngineCore
sys.modules["vllm.engine.core"] = module
from vllm.engine.core_process import main
main(int(sys.argv[1]))
"""


def config(model: str) -> VllmConfig:
    folder = Path("/nowhere")
    model_config = ModelConfig(model, folder, folder, {}, "LlamaForCausalLM", 100, "float32", 64)
    return VllmConfig(model_config, CacheConfig(), SchedulerConfig())


def request(request_id: str) -> EngineRequest:
    return EngineRequest(request_id, [1], SamplingParams(), [2], 0.0)


class Core:
    """The process, and the test's end of its socket."""

    def __init__(self, model: str):
        self.socket, theirs = wire.socket_pair()
        self.socket.settimeout(60)
        command = [sys.executable, "-c", CORE, str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE, text=True)
        theirs.close()
        self.send(Kind.CONFIG, pickle.dumps(config(model)))

    def send(self, kind: Kind, payload: object) -> None:
        self.socket.sendall(wire.pack(kind, payload))

    def receive(self):
        return wire.read_frame(self.socket)

    def __enter__(self) -> "Core":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()
        self.process.stderr.close()
        self.process.wait(30)


@pytest.fixture
def core():
    with Core("good") as running:
        kind, ready = running.receive()
        assert (kind, ready.kv_cache_tokens) == (Kind.READY, 77)
        yield running


def test_requests_are_stepped_and_reported(core):
    core.send(Kind.ADD, wire.Add.of([request("a"), request("b")]))
    kind, step = core.receive()
    assert kind == Kind.STEP
    assert [output.request_id for output in step.outputs] == ["a", "b"]
    assert step.stats.num_running == 0


def test_rejected_request_takes_its_siblings_along(core):
    core.send(Kind.ADD, wire.Add.of([request("sibling"), request("too large")]))
    kind, rejected = core.receive()
    assert (kind, rejected) == (Kind.REJECTED, wire.Rejected("too large", "it can never fit", "prompt"))
    assert core.receive()[1].outputs == []


def test_calls_are_answered(core):
    core.send(Kind.CALL, wire.Call(7, "reset_prefix_cache"))
    assert core.receive() == (Kind.REPLY, wire.Reply(7, True))


def test_failure_in_a_step_is_told_in_one_line_with_the_traceback_in_the_log(core):
    core.send(Kind.ADD, wire.Add.of([request("poison")]))
    assert core.receive() == (Kind.FAILED, wire.Failed("RuntimeError: a kernel failed", False))
    assert core.receive() is None
    assert core.process.wait(30) == 1
    assert "Traceback" in core.process.stderr.read()


def test_a_message_that_cannot_be_read_ends_it(core):
    """The client starts another then; a core that went on would never hear of anything again."""
    core.socket.sendall(wire.HEADER.pack(1, Kind.ADD) + b"\xc1")
    kind, failed = core.receive()
    assert kind == Kind.FAILED and "a message to the engine cannot be read" in failed.message
    assert core.process.wait(30) == 1


def test_user_errors_have_no_traceback():
    with Core("bad model") as core:
        assert core.receive() == (Kind.FAILED, wire.Failed("config.json is damaged", True))
        assert core.process.wait(30) == 1
        assert core.process.stderr.read() == ""


def test_other_errors_at_start_are_one_line():
    with Core("no memory") as core:
        assert core.receive() == (Kind.FAILED, wire.Failed("MemoryError: 8 GiB wanted", False))


def test_it_ends_with_its_client(core):
    core.socket.shutdown(socket.SHUT_RDWR)
    assert core.process.wait(30) == 0
