"""The block pool under arbitrary use: nothing leaks, nothing is freed twice, nothing held is handed out."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vllm.kvcache.block_hash import ROOT, extend_hashes, hash_block
from vllm.kvcache.block_pool import BlockPool

NUM_BLOCKS = 7


class PoolMachine(RuleBasedStateMachine):
    """Holders are lists of blocks; the model counts references, the pool must agree."""

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(NUM_BLOCKS)
        self.holders: list[list[int]] = []

    @rule(data=st.data())
    def take(self, data):
        count = data.draw(st.integers(0, self.pool.num_free))
        blocks = self.pool.take(count)
        held = {b for holder in self.holders for b in holder}
        assert not held & set(blocks) and len(set(blocks)) == count
        self.holders.append(blocks)

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def release(self, data):
        self.pool.release(self.holders.pop(data.draw(st.integers(0, len(self.holders) - 1))))

    @precondition(lambda self: any(self.holders))
    @rule(data=st.data(), content=st.integers(0, 5))
    def name(self, data, content):
        holder = data.draw(st.sampled_from([h for h in self.holders if h]))
        self.pool.name(data.draw(st.sampled_from(holder)), hash_block(ROOT, [content]))

    @rule(content=st.integers(0, 5))
    def share(self, content):
        if (block := self.pool.find(hash_block(ROOT, [content]))) is not None:
            self.pool.share([block])
            self.holders.append([block])

    @rule()
    def forget(self):
        self.pool.forget_all()
        assert all(self.pool.find(hash_block(ROOT, [content])) is None for content in range(6))

    @invariant()
    def references_agree(self):
        for block in range(NUM_BLOCKS):
            assert self.pool.references(block) == sum(holder.count(block) for holder in self.holders)

    @invariant()
    def every_block_is_free_or_held(self):
        held = {b for holder in self.holders for b in holder}
        assert self.pool.num_free == NUM_BLOCKS - len(held)

    def teardown(self):
        for holder in self.holders:
            self.pool.release(holder)
        assert self.pool.num_free == NUM_BLOCKS


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_released_twice_is_an_error():
    pool = BlockPool(2)
    blocks = pool.take(1)
    pool.release(blocks)
    with pytest.raises(ValueError, match="nobody holds it"):
        pool.release(blocks)


def test_unnamed_blocks_are_reused_before_named_ones():
    pool = BlockPool(3)
    first, second, third = pool.take(3)
    pool.name(first, b"a")
    pool.release([first])
    pool.release([second, third])
    assert set(pool.take(2)) == {second, third}
    assert pool.find(b"a") == first


def test_least_recently_used_content_goes_first():
    pool = BlockPool(2)
    old, new = pool.take(2)
    pool.name(old, b"old")
    pool.name(new, b"new")
    pool.release([old])
    pool.release([new])
    pool.take(1)
    assert pool.find(b"old") is None and pool.find(b"new") == new


def test_hashes_depend_on_everything_before():
    first: list[bytes] = []
    second: list[bytes] = []
    extend_hashes(first, [1, 2, 3, 4, 5], 2)
    extend_hashes(second, [9, 2, 3, 4, 5], 2)
    assert len(first) == len(second) == 2
    assert first[0] != second[0] and first[1] != second[1]
    grown = list(first)
    extend_hashes(grown, [1, 2, 3, 4, 5, 6], 2)
    assert grown[:2] == first and len(grown) == 3
