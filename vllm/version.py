"""The package's version: the level of vLLM's interface that it offers."""

__version__ = "0.33.0"
__version_tuple__ = (0, 33, 0)
