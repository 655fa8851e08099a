"""Importing this registers the ops of the library beside this folder, which is not a module of Python's itself."""

from vllm.kernels import load

load()
