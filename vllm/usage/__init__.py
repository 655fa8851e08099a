"""Upstream's name for reports of usage. None are made."""
