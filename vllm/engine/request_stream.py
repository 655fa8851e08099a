"""What a client of the engine reads: the outputs of its requests, in the order in which they come."""

import asyncio
from collections import deque
from collections.abc import Callable

from vllm.engine.input_processor import ProcessedInput
from vllm.outputs import RequestOutput


class RequestStream:
    """The outputs of requests that belong together, as they come. Close it, whatever happens: that frees them."""

    def __init__(self, requests: list[ProcessedInput], on_close: Callable[["RequestStream"], None]):
        self.requests = requests
        self._on_close = on_close
        self._unfinished = {request.request_id for request in requests}
        self._outputs: deque[RequestOutput] = deque()
        self._error: Exception | None = None
        self._waiter: asyncio.Future | None = None

    @property
    def finished(self) -> bool:
        """Whether `get` has returned everything."""
        return not self._unfinished

    async def get(self) -> list[RequestOutput]:
        """The outputs that came since the last call, at least one. Raises what `fail` was given."""
        if not self._outputs and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._error is not None:
            raise self._error
        outputs = list(self._outputs)
        self._outputs.clear()
        self._unfinished.difference_update(output.request_id for output in outputs if output.finished)
        return outputs

    def put(self, output: RequestOutput) -> None:
        self._outputs.append(output)
        self._wake()

    def fail(self, error: Exception) -> None:
        """Ends the stream: the next `get` raises the error."""
        self._error = error
        self._wake()

    def close(self) -> None:
        """Frees the requests, wherever they are; nothing to do once they have finished."""
        self._on_close(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
