"""Upstream's name for where metrics are read."""
