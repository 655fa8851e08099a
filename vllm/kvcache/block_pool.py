"""Reference-counted blocks with an LRU list of free ones, whose content stays findable until it is reused."""

from collections import OrderedDict
from collections.abc import Iterable

from vllm.kvcache.block_hash import BlockHash


class BlockPool:
    """Blocks are numbers from 0. A block is free (reference count 0) or held by one or more sequences."""

    def __init__(self, num_blocks: int):
        self.num_blocks = num_blocks
        self._references = [0] * num_blocks
        self._hashes: list[BlockHash | None] = [None] * num_blocks
        self._by_hash: dict[BlockHash, int] = {}
        # Oldest first: what is taken next stands at the front.
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))

    @property
    def num_free(self) -> int:
        return len(self._free)

    def references(self, block: int) -> int:
        return self._references[block]

    def find(self, block_hash: BlockHash) -> int | None:
        """The block that holds this content, free or held."""
        return self._by_hash.get(block_hash)

    def take(self, count: int) -> list[int]:
        """`count` (at most num_free) free blocks, the longest unused first; what they held is forgotten."""
        blocks = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            self._references[block] = 1
            self._forget(block)
        return blocks

    def share(self, blocks: Iterable[int]) -> None:
        """One more holder for each; free ones become held."""
        for block in blocks:
            if self._references[block] == 0:
                del self._free[block]
            self._references[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """One holder less for each. Of one sequence's blocks the last is reused first: prefixes need the first."""
        for block in reversed(list(blocks)):
            if self._references[block] == 0:
                raise ValueError(f"block {block} is released but nobody holds it")
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None
                if self._hashes[block] is None:  # nothing to find in it: reuse it before any cached one
                    self._free.move_to_end(block, last=False)

    def name(self, block: int, block_hash: BlockHash) -> None:
        """Makes a held block's content findable; a second block with the same content stays anonymous."""
        if self._hashes[block] is None and block_hash not in self._by_hash:
            self._hashes[block] = block_hash
            self._by_hash[block_hash] = block

    def forget_all(self) -> None:
        """No content is findable any more."""
        self._by_hash.clear()
        self._hashes = [None] * self.num_blocks

    def _forget(self, block: int) -> None:
        if (block_hash := self._hashes[block]) is not None:
            del self._by_hash[block_hash]
            self._hashes[block] = None
