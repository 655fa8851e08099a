"""What the checks read from ELF files: a thin layer over pyelftools."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tooling.package_checks.archive import BadPackage

MAGIC = b"\x7fELF"


def is_elf(file: Path) -> bool:
    """Whether `file` begins as an ELF file does."""
    with file.open("rb") as opened:
        return opened.read(4) == MAGIC


@dataclass(frozen=True)
class Library:
    """One ELF file: a shared library, an extension module or a program. `path` is relative to the package's top."""

    path: str
    data: bytes

    @cached_property
    def _elf(self):
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        try:
            return ELFFile(io.BytesIO(self.data))
        except ELFError as error:
            raise BadPackage(f"{self.path} is a damaged ELF file: {error or 'its header is incomplete'}") from None

    @property
    def machine(self) -> str:
        """e_machine as pyelftools names it: EM_X86_64, EM_AARCH64, EM_PPC64, EM_S390."""
        return self._elf["e_machine"]

    @property
    def is_little_endian(self) -> bool:
        return self._elf.little_endian

    @cached_property
    def needed(self) -> list[str]:
        """Libraries that the loader is asked for (DT_NEEDED)."""
        return [tag.needed for tag in self._dynamic("DT_NEEDED")]

    @cached_property
    def search_paths(self) -> list[str]:
        """Entries of DT_RPATH and DT_RUNPATH, in order; an empty one is the empty string."""
        paths = [tag.rpath for tag in self._dynamic("DT_RPATH")] + [tag.runpath for tag in self._dynamic("DT_RUNPATH")]
        return [entry for path in paths for entry in path.split(":")]

    @cached_property
    def undefined(self) -> list[str]:
        """Names, as mangled, of the dynamic symbols that other libraries have to provide."""
        table = self._elf.get_section_by_name(".dynsym")
        symbols = table.iter_symbols() if table else ()
        return [symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name]

    @cached_property
    def versions(self) -> list[tuple[str, str]]:
        """(library, version) of every symbol version needed: ("libc.so.6", "GLIBC_2.17")."""
        section = self._elf.get_section_by_name(".gnu.version_r")
        if section is None:
            return []
        return [(entry.name, version.name) for entry, versions in section.iter_versions() for version in versions]

    @cached_property
    def code(self) -> list[tuple[int, bytes]]:
        """Address and bytes of every section that holds instructions."""
        executable = 0x4  # SHF_EXECINSTR
        sections = (s for s in self._elf.iter_sections() if s["sh_flags"] & executable and s["sh_type"] != "SHT_NOBITS")
        return [(section["sh_addr"], section.data()) for section in sections]

    def section(self, name: str) -> bytes:
        """Contents of a section; nothing where there is none."""
        found = self._elf.get_section_by_name(name)
        return found.data() if found else b""

    def _dynamic(self, tag: str) -> list:
        section = self._elf.get_section_by_name(".dynamic")
        return list(section.iter_tags(tag)) if section else []
