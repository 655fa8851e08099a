"""Upstream's name for where the engine is."""
