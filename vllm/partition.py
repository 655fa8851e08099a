"""Which part of a weight a rank holds where several ranks share a model (Shoeybi et al., Megatron-LM, 2019)."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Part:
    """One of `count` equal parts of a dimension; with `ragged`, the last ones may be smaller or empty."""

    index: int = 0
    count: int = 1
    ragged: bool = False

    def bounds(self, size: int) -> tuple[int, int]:
        """First position of this part of a dimension, and the one after its last. ValueError if parts are unequal."""
        if size % self.count and not self.ragged:
            raise ValueError(f"{size} cannot be split into {self.count} equal parts")
        each = -(-size // self.count)
        return min(self.index * each, size), min((self.index + 1) * each, size)

    def length(self, size: int) -> int:
        """How much of a dimension this part is."""
        start, end = self.bounds(size)
        return end - start


WHOLE = Part()


class Tile(NamedTuple):
    """The part of a linear layer's weight [outputs, inputs] that a rank holds."""

    rows: Part = WHOLE
    columns: Part = WHOLE

    @property
    def transposed(self) -> tuple[Part, Part]:
        """For weights that are stored [inputs, outputs]."""
        return self.columns, self.rows


WHOLE_LAYER = Tile()


def shared_part(rank: int, ranks: int, units: int) -> Part:
    """A rank's part of a dimension of `units` equal units; where they are fewer than ranks, neighbours share one."""
    count = min(units, ranks)
    return Part(rank * count // ranks, count)
