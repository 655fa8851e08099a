"""Blocks of the KV cache: who holds them and what they hold."""
