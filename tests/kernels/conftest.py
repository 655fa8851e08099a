"""Kernel tests draw the same examples in every run; compiling nothing, they need no deadline."""

from hypothesis import settings

settings.register_profile("kernels", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("kernels")
