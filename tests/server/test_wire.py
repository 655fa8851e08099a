"""Frames between the engine's process and its client."""

import socket

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vllm.engine import wire
from vllm.engine.wire import Kind
from vllm.messages import EngineOutput, EngineRequest, EngineStats, TokenLogprobs
from vllm.sampling_params import SamplingParams

REQUEST = EngineRequest("r", [1, 2, 3], SamplingParams(temperature=0.5, logit_bias={7: -1.5}, stop=["x"]), [2], 12.5)
OUTPUT = EngineOutput("r", [5], "stop", "x", [TokenLogprobs([5, 6], [-0.5, -1.0], 1)], [None], 3)
FRAMES = [
    (Kind.ADD, wire.Add.of([REQUEST])),
    (Kind.ABORT, ["a", "b"]),
    (Kind.CALL, wire.Call(1, "reset_prefix_cache")),
    (Kind.READY, wire.Ready(1.5, 1000)),
    (Kind.STEP, wire.Step([OUTPUT], EngineStats(num_running=1))),
    (Kind.REJECTED, wire.Rejected("r", "too long", "prompt")),
    (Kind.REPLY, wire.Reply(1, True)),
    (Kind.FAILED, wire.Failed("out of memory", False)),
]


def test_a_prompt_is_sent_once():
    prompt = list(range(1000))
    requests = [msgspec.structs.replace(REQUEST, request_id=f"{i}", prompt_token_ids=prompt) for i in range(50)]
    frame = wire.pack(Kind.ADD, wire.Add.of(requests))
    assert len(frame) < len(wire.pack(Kind.ADD, wire.Add.of(requests[:1]))) * 10
    [(_, received)] = wire.FrameSplitter().feed(frame)
    complete = received.complete()
    assert complete == requests
    assert all(each.prompt_token_ids is complete[0].prompt_token_ids for each in complete)


@given(sizes=st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_cutting(sizes):
    data = b"".join(wire.pack(kind, payload) for kind, payload in FRAMES)
    splitter, frames, at = wire.FrameSplitter(), [], 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        frames += splitter.feed(data[at : at + size])
        at += size
    assert frames == FRAMES


def test_blocking_reader_reads_the_same():
    ours, theirs = wire.socket_pair()
    with ours, theirs:
        for kind, payload in FRAMES:
            ours.sendall(wire.pack(kind, payload))
            assert wire.read_frame(theirs) == (kind, payload)
        ours.sendall(wire.pack(Kind.ABORT, ["cut off"])[:-1])
        ours.shutdown(socket.SHUT_WR)
        assert wire.read_frame(theirs) is None
