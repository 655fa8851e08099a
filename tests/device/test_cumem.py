"""The pool behind sleep mode, over the CPU's virtual memory."""

import ctypes

import pytest

from support import device_emulator
from support.device_ops import needs_emulator

PAGE = 64 * 1024


@pytest.fixture
def pool():
    needs_emulator()
    library = device_emulator.load()
    library.cumem_malloc.restype = ctypes.c_void_p
    library.cumem_malloc.argtypes = [ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p]
    library.cumem_free.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p]
    library.cumem_error.restype = ctypes.c_char_p
    for name in ("cumem_set_tag", "cumem_release", "cumem_restore"):
        getattr(library, name).argtypes = [ctypes.c_int64]
    for name in ("cumem_list", "cumem_mapped_bytes", "host_used"):
        getattr(library, name).restype = ctypes.c_size_t
    library.host_set_limit.argtypes = [ctypes.c_size_t]
    library.host_set_limit(2**40)
    assert library.host_used() == 0
    yield library
    assert library.host_used() == library.cumem_mapped_bytes() == 0


def listed(pool, tag):
    addresses, sizes = (ctypes.c_size_t * 8)(), (ctypes.c_size_t * 8)()
    count = pool.cumem_list(ctypes.c_int64(tag), addresses, sizes, ctypes.c_size_t(8))
    return dict(zip(addresses[:count], sizes[:count], strict=True))


def test_sleep_and_wake_keep_addresses(pool):
    pool.cumem_set_tag(1)
    weights = pool.cumem_malloc(PAGE + 1, 0, None)
    pool.cumem_set_tag(2)
    cache = pool.cumem_malloc(100, 0, None)
    ctypes.memset(weights, 7, PAGE + 1)
    ctypes.memset(cache, 9, 100)
    assert listed(pool, 1) == {weights: 2 * PAGE}
    assert pool.host_used() == pool.cumem_mapped_bytes() == 3 * PAGE
    waits = pool.host_synchronized()
    assert pool.cumem_release(2) == 0
    assert pool.host_synchronized() == waits + 1
    assert pool.host_used() == 2 * PAGE
    assert ctypes.string_at(weights, 3) == b"\7\7\7"
    assert pool.cumem_release(2) == 0  # nothing is left to do
    assert pool.cumem_restore(2) == 0
    ctypes.memset(cache, 5, 100)
    assert listed(pool, 2) == {cache: PAGE}
    for address in (weights, cache):
        pool.cumem_free(address, 0, 0, None)
    assert listed(pool, 1) == {}


def test_freed_while_asleep(pool):
    pool.cumem_set_tag(3)
    address = pool.cumem_malloc(PAGE, 0, None)
    pool.cumem_release(3)
    pool.cumem_free(address, 0, 0, None)


def test_a_failed_wake_can_be_repeated(pool):
    pool.cumem_set_tag(4)
    addresses = [pool.cumem_malloc(PAGE, 0, None) for _ in range(3)]
    pool.cumem_release(4)
    pool.host_set_limit(2 * PAGE)
    assert pool.cumem_restore(4) == -1
    assert b"out of memory" in pool.cumem_error()
    assert pool.cumem_mapped_bytes() == 2 * PAGE
    pool.host_set_limit(3 * PAGE)
    assert pool.cumem_restore(4) == 0
    for address in addresses:
        ctypes.memset(address, 1, PAGE)
        pool.cumem_free(address, 0, 0, None)
