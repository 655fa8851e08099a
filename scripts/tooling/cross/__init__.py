"""Kernels built for other CPUs, and their tests under an emulator."""
