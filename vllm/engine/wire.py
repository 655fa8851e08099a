"""What travels between the engine's core process and its client: frames on a Unix socket pair.

A frame is a header (payload length and kind, 5 bytes, little endian) and a msgpack payload. A socket pair has no name
on disk, needs no port, and each side sees at once when the other has died: reading gives end of file.
"""

import socket
import struct
from enum import IntEnum

import msgspec

from vllm.messages import EngineOutput, EngineRequest, EngineStats

HEADER = struct.Struct("<IB")
# What the kernel buffers before a step waits for a client that is busy; the kernel caps it at its own limit.
_SOCKET_BUFFER_BYTES = 4 << 20


class Kind(IntEnum):
    """What a frame holds. The first group goes to the core, the second comes from it."""

    CONFIG = 0  # a pickled VllmConfig, once, first
    ADD = 1  # Add
    ABORT = 2  # list[str]: request ids
    CALL = 3  # Call

    READY = 10  # Ready, once, when the model is loaded
    STEP = 11  # Step
    REJECTED = 12  # Rejected
    REPLY = 13  # Reply
    FAILED = 14  # Failed; the core exits


class Add(msgspec.Struct, array_like=True):
    """Sequences of one prompt, which is sent once: there may be thousands."""

    prompt_token_ids: list[int]
    requests: list[EngineRequest]  # without it

    @classmethod
    def of(cls, requests: list[EngineRequest]) -> "Add":
        """`requests` is not empty; all have the same prompt."""
        without = [msgspec.structs.replace(request, prompt_token_ids=[]) for request in requests]
        return cls(requests[0].prompt_token_ids, without)

    def complete(self) -> list[EngineRequest]:
        """The requests, sharing one list of the prompt's tokens."""
        for request in self.requests:
            request.prompt_token_ids = self.prompt_token_ids
        return self.requests


class Call(msgspec.Struct, array_like=True):
    """Asks for a method of the core by name; a Reply with the same id answers. `argument`: where it is not None."""

    id: int
    method: str
    argument: bool | int | list[str] | None = None


class Ready(msgspec.Struct, array_like=True):
    """The core takes requests. `seconds`: from the process's first line of Python to here."""

    seconds: float
    kv_cache_tokens: int


class Step(msgspec.Struct, array_like=True):
    """What one step made, and the core's state after it."""

    outputs: list[EngineOutput]
    stats: EngineStats


class Rejected(msgspec.Struct, array_like=True):
    """A request that the core could not take; `parameter` is the field at fault."""

    request_id: str
    message: str
    parameter: str | None


class Reply(msgspec.Struct, array_like=True):
    """What a call gave. `refused`: why it was not accepted."""

    id: int
    value: bool
    refused: str | None = None


class Failed(msgspec.Struct, array_like=True):
    """Why the core ends. `is_usage_error`: the user's configuration or model is at fault."""

    message: str
    is_usage_error: bool


_PAYLOADS = {
    Kind.ADD: Add,
    Kind.ABORT: list[str],
    Kind.CALL: Call,
    Kind.READY: Ready,
    Kind.STEP: Step,
    Kind.REJECTED: Rejected,
    Kind.REPLY: Reply,
    Kind.FAILED: Failed,
}
_DECODERS = {int(kind): msgspec.msgpack.Decoder(payload) for kind, payload in _PAYLOADS.items()}
_ENCODER = msgspec.msgpack.Encoder()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets with large send buffers; neither is inherited by processes unless passed on."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
    return ends


def pack(kind: Kind, payload: object) -> bytes:
    """A frame, ready to send. `payload` as the table above says; bytes for CONFIG."""
    body = payload if kind is Kind.CONFIG else _ENCODER.encode(payload)
    return HEADER.pack(len(body), kind) + body


def unpack(kind: int, body: bytes | memoryview):
    """The payload of a frame, typed."""
    return bytes(body) if kind == Kind.CONFIG else _DECODERS[kind].decode(body)


def read_frame(connection: socket.socket) -> tuple[int, object] | None:
    """The next frame of a blocking socket, or None at end of file."""
    header = _read_exactly(connection, HEADER.size)
    if header is None:
        return None
    length, kind = HEADER.unpack(header)
    body = _read_exactly(connection, length)
    return None if body is None else (kind, unpack(kind, body))


def _read_exactly(connection: socket.socket, count: int) -> bytearray | None:
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while filled < count:
        try:
            received = connection.recv_into(view[filled:])
        except ConnectionResetError:
            return None
        if received == 0:
            return None
        filled += received
    return data


class FrameSplitter:
    """Cuts a byte stream that arrives in pieces into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, object]]:
        """The frames that this piece completes."""
        buffer = self._buffer
        buffer += data
        frames, start = [], 0
        while len(buffer) - start >= HEADER.size:
            length, kind = HEADER.unpack_from(buffer, start)
            end = start + HEADER.size + length
            if len(buffer) < end:
                break
            frames.append((kind, unpack(kind, bytes(buffer[start + HEADER.size : end]))))
            start = end
        del buffer[:start]
        return frames
