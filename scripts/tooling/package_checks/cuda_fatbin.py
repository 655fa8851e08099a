"""Which GPU architectures a library holds CUDA code for: a reader of NVIDIA's fat binaries.

nvcc puts fat binaries one after another into a section. Each has a header and entries; an entry's own header names its
kind and architecture, so nothing has to be decompressed. Layouts (little-endian, offsets in bytes), found by comparing
what nvcc 12 and 13 write with what `cuobjdump -lelf -lptx` prints:

    fat binary   0 magic 0xBA55ED50, 4 version u16, 6 header size u16, 8 size of all entries u64
    entry        0 kind u16 (1 PTX, 2 machine code), 4 header size u32, 8 payload size u64, 28 architecture u32,
                 40 flags u64: 0x100000 for this architecture only (90a), 0x200000 for its family (100f)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tooling.package_checks.archive import BadPackage
from tooling.package_checks.elf import Library

SECTIONS = (".nv_fatbin", "__nv_relfatbin")
MAGIC = struct.pack("<I", 0xBA55ED50)
HEADER = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQ12xI8xQ")
PTX, MACHINE_CODE = 1, 2
SUFFIXES = {0x100000: "a", 0x200000: "f"}


def architectures(library: Library) -> set[str]:
    """Names as variant keys spell them: `9.0a` for machine code, `12.1+PTX` for PTX."""
    return {name for section in SECTIONS for name in _entries(library.path, library.section(section))}


def _entries(path: str, data: bytes) -> Iterator[str]:
    position = data.find(MAGIC)
    while position >= 0:
        _, _, header_size, size = _read(HEADER, path, data, position)
        entry, end = position + header_size, position + header_size + size
        while entry < end:
            kind, _, entry_header, payload, architecture, flags = _read(ENTRY, path, data, entry)
            if entry_header < ENTRY.size:
                raise BadPackage(f"{path} holds a damaged CUDA fat binary")
            if kind in (PTX, MACHINE_CODE):
                suffix = "".join(letter for bit, letter in SUFFIXES.items() if flags & bit)
                yield f"{architecture // 10}.{architecture % 10}{suffix}{'+PTX' if kind == PTX else ''}"
            entry += entry_header + payload
        position = data.find(MAGIC, max(end, position + HEADER.size))


def _read(layout: struct.Struct, path: str, data: bytes, position: int) -> tuple:
    if position + layout.size > len(data):
        raise BadPackage(f"{path} holds a CUDA fat binary that ends too early")
    return layout.unpack_from(data, position)
