"""Names for the content of full blocks, chained: a block's hash stands for all tokens up to its end."""

import hashlib
from array import array
from collections.abc import Sequence

BlockHash = bytes
# The parent of a sequence's first block.
ROOT: BlockHash = b""


def hash_block(parent: BlockHash, token_ids: Sequence[int]) -> BlockHash:
    """128 bits over the parent's hash and this block's token ids: no collision to be met, or made, in practice."""
    return hashlib.blake2b(parent + array("i", token_ids).tobytes(), digest_size=16).digest()


def extend_hashes(hashes: list[BlockHash], token_ids: Sequence[int], block_size: int) -> None:
    """Appends the hashes of full blocks of `token_ids` that `hashes` does not have yet."""
    for start in range(len(hashes) * block_size, len(token_ids) - block_size + 1, block_size):
        parent = hashes[-1] if hashes else ROOT
        hashes.append(hash_block(parent, token_ids[start : start + block_size]))
