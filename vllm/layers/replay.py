"""Steps of the same shape are replayed: one native call for all layers instead of several a layer."""

from collections.abc import Callable, Hashable, Iterable

from vllm.distributed.group import SINGLE_RANK, Group
from vllm.kernels.recording import Recording, record

# Shapes kept, the longest unused dropped first; a recording of 30 layers takes about 50 KB.
_MOST_RECORDINGS = 64


class Replay:
    """Runs a function whose kernel calls depend on a key alone, from a recording where there is one.

    A shape is recorded when it comes a second time in a row, as shapes of decoding do.
    """

    def __init__(self, parts: Iterable[object], group: Group = SINGLE_RANK):
        """`parts` are what the function calls, `group` the ranks with which they exchange.

        Parts that only call this package's kernels, over memory that lives as long as they do, say so by
        `recordable = True`; where one does not, nothing is ever recorded.
        """
        self._group = group
        self._recordings: dict[Hashable, Recording] = {}
        self._last_key: Hashable = None
        self._possible = all(getattr(part, "recordable", False) for part in parts)

    def run(self, key: Hashable, function: Callable[[], None]) -> None:
        """`key` must stand for every address, size and number that `function` calls kernels with."""
        recording = self._recordings.pop(key, None)
        if recording is not None:
            self._recordings[key] = recording  # the youngest again
            with self._group.needing_peers():
                recording.replay()
        elif self._possible and key == self._last_key:
            self._record(key, function)
        else:
            self._last_key = key
            function()

    def _record(self, key: Hashable, function: Callable[[], None]) -> None:
        recording = record(function)
        if recording is None:
            self._possible = False
            return
        if len(self._recordings) == _MOST_RECORDINGS:
            del self._recordings[next(iter(self._recordings))]
        self._recordings[key] = recording
