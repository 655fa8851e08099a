"""One build serves every torch from the one it names: only torch's stable ABI is used.

Two answers are asked for. torch-abi-audit demangles every symbol and knows in which torch each function of the stable
ABI appeared. Our own rule reads mangled names and the list of libraries, and so depends on neither of its tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tooling.package_checks.elf import Library
from tooling.package_checks.package import Package, text_of, version_of
from tooling.package_checks.registry import check

LIBRARIES = re.compile(r"lib(torch|torch_cpu|torch_cuda|torch_hip)\.so")
"""Of torch's libraries, those that export the stable ABI."""

TORCH_LIBRARY = re.compile(r"lib(torch|c10|caffe2|shm)\w*\.so")

UNSTABLE = re.compile(r"N[rVKRO]*(?:2at|3c10|6caffe2|5torch(?!6stable|10headeronly))(?=\d|[A-Z])")
"""A name nested in a namespace of torch's unstable interface, as the Itanium C++ ABI mangles it."""


@check("torch", "uses torch's stable ABI only, from the torch that it depends on")
def find(package: Package) -> Iterator[str]:
    """Unstable libraries and symbols, and functions newer than the oldest torch that the package admits."""
    oldest = package.lower_bound("pytorch") or package.lower_bound("libtorch")
    for library in package.libraries:
        for needed in library.needed:
            if TORCH_LIBRARY.match(needed) and not LIBRARIES.match(needed):
                yield f"{library.path} links {needed}, which is no part of the stable ABI"
        unstable = sorted(symbol for symbol in library.undefined if UNSTABLE.search(symbol))
        if unstable:
            yield f"{library.path} calls {unstable[0]}{_more(unstable)}: not in the stable ABI"
        yield from _audit(library, oldest)


def _audit(library: Library, oldest: tuple[int, ...] | None) -> Iterator[str]:
    """What torch-abi-audit says. It needs Python 3.11; below, our own rule stands alone."""
    try:
        from torch_abi_audit.demangle import demangle_symbol
        from torch_abi_audit.torch_abi import classify_symbols
    except ImportError:
        return
    verdict = classify_symbols([demangle_symbol(symbol) for symbol in library.undefined])
    if not verdict.uses_torch:
        return
    if not verdict.stable:
        yield f"torch-abi-audit on {library.path}: unstable {verdict.unstable_symbols[0]}"
    if verdict.unknown_shim_symbols:
        yield f"torch-abi-audit does not know {verdict.unknown_shim_symbols[0]} of {library.path}"
    if oldest is None:
        yield f"{library.path} uses torch; the package depends on no pytorch >=X"
    elif verdict.min_torch_version and version_of(verdict.min_torch_version) > _padded(oldest):
        newest = f"torch {verdict.min_torch_version} ({', '.join(verdict.version_defining_symbols[:2])})"
        yield f"{library.path} needs {newest}; the package admits {text_of(oldest)}"


def _padded(version: tuple[int, ...]) -> tuple[int, ...]:
    return (*version, 0, 0, 0)[:3]


def _more(symbols: list[str]) -> str:
    return f" and {len(symbols) - 1} more" if len(symbols) > 1 else ""
