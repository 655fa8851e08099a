"""Errors that a user can act on: printed as one line, exit status 2, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """One line that says what was given or found, what is needed, and what to do."""
