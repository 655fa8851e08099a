"""Upstream's name for what makes prompts of conversations."""
