"""Processes that work together: starting them, and what the ranks of a model exchange."""
