"""Upstream's name for adapters, which are not offered."""
