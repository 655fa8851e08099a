"""A stand-in for conda-forge: its package names, made from what pip and apt can download.

`ensure_channel(cache_dir, progress)` returns a channel folder that a solver reads as `file://` URL.
"""

from standin.channel import ensure_channel

__all__ = ["ensure_channel"]
