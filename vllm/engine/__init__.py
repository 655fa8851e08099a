"""Requests in, tokens out: the engine's core and the processors around it."""
