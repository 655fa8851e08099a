"""See entry.py."""
