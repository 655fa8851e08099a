"""Errors that a user can act on: printed as one line, with an exit status, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """One line that says what was given or found, what is needed, and what to do."""

    status = 2
    """What the command that ends with it exits with."""
