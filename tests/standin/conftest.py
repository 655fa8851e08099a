"""Makes scripts/ importable before a test module asks for the package of this folder's name."""

import support.checkout  # noqa: F401
