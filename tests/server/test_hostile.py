"""Input that no client sends by accident: the server answers 4xx or hangs up, and goes on serving."""

import json
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JUNK = [
    b"\x00\x01\x02\xff\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nBad Header\x00: \xff\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/models/%ff%00%2e%2e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 5_000 + b"Connection: close\r\n\r\n",
]


def talk(url: str, data: bytes) -> bytes:
    """Sends raw bytes, says that no more will come, and reads to the end."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            return b""
    return answer


@pytest.mark.parametrize("data", JUNK, ids=lambda data: repr(data[:40]))
def test_junk_on_the_wire(server, data):
    answer = talk(server.url, data)
    assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5"))
    assert server.http.get("/health").status_code == 200


def test_body_that_ends_early(server):
    talk(server.url, b'POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"prompt"')
    assert server.http.get("/health").status_code == 200


def test_keys_that_are_not_ascii(server):
    answer = talk(
        server.url, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
field_names = st.sampled_from(
    "prompt messages temperature top_p top_k n max_tokens stop seed logprobs echo logit_bias stream_options bad_words "
    "response_format tools model prompt_logprobs stop_token_ids min_tokens chat_template_kwargs priority suffix".split()
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(field_names, json_values, max_size=4), path=st.sampled_from(["completions", "chat"]))
def test_any_value_of_any_field(server, fields, path):
    """Whatever the values: an answer or a refusal, never an internal error."""
    base = {"prompt": "x"} if path == "completions" else {"messages": [{"role": "user", "content": "x"}]}
    url = "/v1/completions" if path == "completions" else "/v1/chat/completions"
    body = json.dumps({**base, "max_tokens": 2, **fields, "stream": False})
    response = server.http.post(url, content=body.encode("utf-8", "replace"))
    assert response.status_code in (200, 400, 404), response.text
