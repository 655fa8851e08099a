"""Tests here use the packages of scripts/."""

import support.checkout  # noqa: F401
