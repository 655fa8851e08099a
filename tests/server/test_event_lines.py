"""Lines of an event stream, however it is cut, are those that LF ends."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from vllm.entrypoints.cli.event_lines import lines, lines_as_they_come

EVENTS = 'data: {"text": "a\u2028b\x85c\x0bd"}\n\ndata: ä\r\ndata: [DONE]\n'


@given(size=st.integers(1, 60))
def test_lines(size):
    data = EVENTS.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    expected = [line.removesuffix("\r") for line in EVENTS.split("\n")[:-1]]
    assert list(lines(pieces)) == expected

    async def as_they_come():
        async def arriving():
            for piece in pieces:
                yield piece

        return [line async for line in lines_as_they_come(arriving())]

    assert asyncio.run(as_they_come()) == expected
