"""Lines of an event stream. httpx would also split at characters that JSON may hold, as U+2028 and U+0085."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The complete lines of pieces as they come, without their ends, LF or CR LF."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from map(_text, whole)


async def lines_as_they_come(pieces: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """As `lines`."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield _text(line)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")
