"""Environments: solved, installed, made the current one, run in."""
