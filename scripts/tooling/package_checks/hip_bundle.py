"""Which GPU architectures a library holds HIP code for: a reader of clang's offload bundles.

The layouts are those of "Clang Offload Bundler" in clang's documentation: plain bundles, and compressed ones (CCOB)
of versions 1 to 3 with zlib or zstd.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from tooling.package_checks.archive import BadPackage
from tooling.package_checks.elf import Library

SECTION = ".hip_fatbin"
PLAIN = b"__CLANG_OFFLOAD_BUNDLE__"
COMPRESSED = b"CCOB"
ZLIB, ZSTD = 0, 1
MOST_BYTES = 2_000_000_000


def architectures(library: Library) -> set[str]:
    """Names as variant keys spell them, `gfx90a`, with a target's features: `gfx90a:xnack+`."""
    try:
        return set(_targets(library.section(SECTION)))
    except (struct.error, zlib.error, UnicodeDecodeError, ValueError) as error:
        raise BadPackage(f"{library.path} holds a damaged HIP offload bundle: {error}") from None


def _targets(data: bytes) -> Iterator[str]:
    """Targets of every bundle in `data`; bundles lie at page boundaries, one a translation unit."""
    position = 0
    while position < len(data):
        if data.startswith(PLAIN, position):
            position, targets = _plain(data, position)
            yield from targets
        elif data.startswith(COMPRESSED, position):
            position, bundle = _decompressed(data, position)
            yield from _plain(bundle, 0)[1]
        following = [found for magic in (PLAIN, COMPRESSED) if (found := data.find(magic, position)) >= 0]
        position = min(following, default=len(data))


def _plain(data: bytes, start: int) -> tuple[int, list[str]]:
    """Where a bundle's table ends, or its last payload if that is later, and the device targets that are not empty."""
    if not data.startswith(PLAIN, start):
        raise ValueError("no bundle inside its compressed form")
    (count,) = struct.unpack_from("<Q", data, start + len(PLAIN))
    position, end, targets = start + len(PLAIN) + 8, 0, []
    for _ in range(count):
        offset, size, length = struct.unpack_from("<QQQ", data, position)
        identity = data[position + 24 : position + 24 + length].decode("ascii")
        position += 24 + length
        end = max(end, start + offset + size)
        kind, _, target = identity.partition("--")
        if size and kind.startswith("hip"):
            targets.append(target)
    return max(position, end), targets


def _decompressed(data: bytes, start: int) -> tuple[int, bytes]:
    """Where a compressed bundle ends, and the plain bundle in it."""
    version, method = struct.unpack_from("<HH", data, start + 4)
    layouts = {1: "<I", 2: "<II", 3: "<QQ"}  # [size of the whole,] uncompressed size
    if version not in layouts:
        raise ValueError(f"compressed in format {version}")
    sizes = struct.unpack_from(layouts[version], data, start + 8)
    header = 8 + struct.calcsize(layouts[version]) + 8  # a hash of 8 bytes comes last
    end = start + sizes[0] if version > 1 else len(data)
    payload, size = data[start + header : end], sizes[-1]
    if size > MOST_BYTES or end <= start:
        raise ValueError(f"of {size} bytes")
    if method == ZLIB:
        return end, zlib.decompressobj().decompress(payload, size)
    import zstandard

    try:
        return end, zstandard.ZstdDecompressor().decompressobj().decompress(payload)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
