"""The command line's parser under upstream's name."""

from vllm.entrypoints.cli.parser import CommandParser as FlexibleArgumentParser

__all__ = ["FlexibleArgumentParser"]
