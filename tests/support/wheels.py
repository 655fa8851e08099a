"""Makes small wheels and folders of them: what pip's sources would offer, without a network."""

import hashlib
import zipfile
from pathlib import Path

from standin.index import Downloads, Sources


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    tag: str = "py3-none-any",
    metadata: tuple[str, ...] = (),
    files: dict[str, str] | None = None,
    entry_points: str = "",
) -> Path:
    """Write a wheel; `metadata` are extra lines of METADATA such as `Requires-Dist: x`."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-{tag}.whl"
    info = f"{module}-{version}.dist-info"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", "Summary: A test", *metadata]
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (files if files is not None else {f"{module}/__init__.py": ""}).items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n\nA long description: Requires-Dist: not-this\n")
        if entry_points:
            archive.writestr(f"{info}/entry_points.txt", entry_points)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
    return path


def sha256(path: Path) -> str:
    """A file's sha256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def downloads_from(folder: Path, *find_links: Path | str, index_urls: tuple[str, ...] = ()) -> Downloads:
    """Downloads into `folder` from nothing but the places given."""
    sources = Sources(index_urls=index_urls, find_links=tuple(map(str, find_links)))
    return Downloads(folder, sources)
