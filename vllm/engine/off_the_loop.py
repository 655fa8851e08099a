"""Work that an event loop should not wait for, where it is much."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
# Tokenizing more characters than this takes long enough (tens of milliseconds) to make other requests wait.
_MUCH = 20_000


async def off_the_loop(function: Callable[[], Result], size: int) -> Result:
    """`function()`; from a thread where it goes through a text, or tokens, of a large size."""
    return await asyncio.to_thread(function) if size > _MUCH else function()
