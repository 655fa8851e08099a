"""Upstream's older name for where tokenizers come from."""
