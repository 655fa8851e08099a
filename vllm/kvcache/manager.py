"""Gives sequences the blocks that their tokens need, and finds prefixes that are already computed."""

from vllm.kvcache.block_hash import BlockHash, extend_hashes
from vllm.kvcache.block_pool import BlockPool


class SequenceBlocks:
    """The blocks of one sequence, in the order of its tokens, and the hashes of its full blocks."""

    __slots__ = ("block_ids", "hashes", "num_named")

    def __init__(self) -> None:
        self.block_ids: list[int] = []
        self.hashes: list[BlockHash] = []
        self.num_named = 0  # leading blocks whose content is findable


class KVCacheManager:
    """Bookkeeping only: the cache's memory is the worker's."""

    def __init__(self, num_blocks: int, block_size: int, enable_prefix_caching: bool):
        self.block_size = block_size
        self.enable_prefix_caching = enable_prefix_caching
        self.pool = BlockPool(num_blocks)

    @property
    def num_tokens(self) -> int:
        """Capacity."""
        return self.pool.num_blocks * self.block_size

    @property
    def usage(self) -> float:
        """Fraction of blocks that are held."""
        return 1.0 - self.pool.num_free / self.pool.num_blocks

    def find_prefix(self, blocks: SequenceBlocks, token_ids: list[int]) -> list[int]:
        """Blocks that hold the longest cached prefix of `token_ids`, at least one token shorter than it.

        The last token must be computed, for its logits.
        """
        if not self.enable_prefix_caching:
            return []
        extend_hashes(blocks.hashes, token_ids, self.block_size)
        found: list[int] = []
        for block_hash in blocks.hashes[: (len(token_ids) - 1) // self.block_size]:
            if (block := self.pool.find(block_hash)) is None:
                break
            found.append(block)
        return found

    def can_hold(self, num_tokens: int, prefix: list[int]) -> bool:
        """Whether a new sequence of `num_tokens`, of which `prefix` is cached, could be held now."""
        revived = sum(1 for block in prefix if self.pool.references(block) == 0)
        return self._blocks_for(num_tokens) - len(prefix) + revived <= self.pool.num_free

    def start(self, blocks: SequenceBlocks, prefix: list[int]) -> None:
        """Gives a sequence without blocks its cached prefix."""
        self.pool.share(prefix)
        blocks.block_ids = list(prefix)
        blocks.num_named = len(prefix)

    def grow(self, blocks: SequenceBlocks, num_tokens: int) -> bool:
        """Makes room for the first `num_tokens` tokens; False, and nothing done, where too few blocks are free."""
        missing = self._blocks_for(num_tokens) - len(blocks.block_ids)
        if missing <= 0:
            return True
        if missing > self.pool.num_free:
            return False
        blocks.block_ids.extend(self.pool.take(missing))
        return True

    def name_full_blocks(self, blocks: SequenceBlocks, token_ids: list[int], num_computed: int) -> None:
        """Makes full blocks among the first `num_computed` tokens findable.

        Called when the step that computes them is scheduled: every layer writes a step's keys and values before
        any sequence of the step reads them, so that equal prompts of one step are computed once.
        """
        full = num_computed // self.block_size
        if not self.enable_prefix_caching or full <= blocks.num_named:
            return
        extend_hashes(blocks.hashes, token_ids, self.block_size)
        for index in range(blocks.num_named, full):
            self.pool.name(blocks.block_ids[index], blocks.hashes[index])
        blocks.num_named = full

    def free(self, blocks: SequenceBlocks) -> None:
        """Takes all blocks back; hashes stay, the tokens do not change."""
        self.pool.release(blocks.block_ids)
        blocks.block_ids = []
        blocks.num_named = 0

    def reset(self) -> bool:
        """Forgets cached prefixes; False, and nothing done, while blocks are held."""
        if self.pool.num_free != self.pool.num_blocks:
            return False
        self.forget()
        return True

    def forget(self) -> None:
        """No block is findable any more, also of those that are held."""
        self.pool.forget_all()

    def _blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)
