"""Errors that a user can act on: printed as one line, with an exit status, no traceback."""

from __future__ import annotations

import sys

FROM_OUTSIDE = (
    "AuthenticationStorageError",
    "CacheDirError",
    "ConfigError",
    "ExtractError",
    "FetchRepoDataError",
    "GatewayError",
    "InstallerError",
    "InvalidChannelError",
    "IoError",
    "LinkError",
    "TransactionError",
    "ValidatePackageRecordsError",
)
"""rattler's errors that networks, channels, disks and the user's configuration cause, and no mistake made here."""


class UserError(Exception):
    """One line that says what was given or found, what is needed, and what to do."""

    status = 2
    """What the command that ends with it exits with."""


def reason_from_outside(error: Exception) -> str | None:
    """What the network, a channel or a disk answered, on one line; None where that is not what `error` is about."""
    kinds = [OSError]
    if "rattler" in sys.modules:
        from rattler import exceptions

        kinds += [getattr(exceptions, name) for name in FROM_OUTSIDE]
    if not isinstance(error, tuple(kinds)):
        return None
    return " ".join(str(error).replace("\nCaused by: ", ": ").split())
