"""See protocol.py."""
