"""Upstream's name for whether kernels are written in Triton. None are."""

HAS_TRITON = False
