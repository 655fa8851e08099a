"""Builds start when what they need is there, side by side, and stop at the first failure."""

import threading
import time

import pytest

from standin.schedule import Board, run
from standin.store import Unit
from tooling.errors import UserError

NEEDS = {"libc": [], "python": ["libc"], "pip": ["python"], "numpy": ["python", "pip", "elsewhere"], "torch": ["numpy"]}


def units(*names):
    return [Unit(name, f"recipe of {name}") for name in names]


def start(fetches, build=lambda unit: None, jobs=2, only=frozenset(), known=NEEDS):
    done = []
    run(
        fetches,
        Board(frozenset(known)),
        lambda unit: NEEDS[unit.name],
        build,
        lambda u: done.append(u.name),
        jobs,
        only,
    )
    return done


def test_order_follows_needs_and_unknown_names_do_not_block():
    fetches = [lambda: units("torch", "numpy"), lambda: units("pip", "python"), lambda: units("libc")]
    assert start(fetches) == ["libc", "python", "pip", "numpy", "torch"]


def test_needs_that_become_known_later_are_waited_for():
    known = {"torch": ["numpy"], "numpy": [], "libc": []}
    done = []

    def needs_of(unit):
        return ["numpy", "libc"] if unit.name == "torch" and "numpy" in done else known[unit.name]

    fetches = [lambda: units("torch", "numpy"), lambda: time.sleep(0.2) or units("libc")]
    run(fetches, Board(frozenset(known)), needs_of, lambda unit: None, lambda unit: done.append(unit.name), 1)
    assert done == ["numpy", "libc", "torch"]


def test_builds_begin_while_downloads_go_on():
    built = threading.Event()

    def slow():
        assert built.wait(10), "libc was not built while this download was going on"
        return units("python")

    assert start([lambda: units("libc"), slow], lambda unit: built.set(), known=["libc", "python"]) == [
        "libc",
        "python",
    ]


def test_two_at_a_time_and_never_more():
    running, most = [], []
    two = threading.Barrier(2, timeout=60)

    def build(unit):
        running.append(unit)
        most.append(len(running))
        two.wait()
        running.remove(unit)

    names = ["libc", "a", "b", "c"]
    board = Board(frozenset(names))
    run([lambda: units(*names)], board, lambda unit: [], build, lambda unit: None, 2)
    assert max(most) == 2 and board.built == set(names)


def test_longest_way_goes_first(tmp_path):
    big = tmp_path / "big.whl"
    big.write_bytes(bytes(100))
    board = Board(frozenset({"small", "big", "after"}))
    board.add(Unit("small", ""), [])
    board.add(Unit("big", "", (), (big,)), [])
    board.add(Unit("after", ""), ["small"])
    assert [board.take().name, board.take().name] == ["small", "big"]
    assert board.take() is None


def test_only_builds_what_is_asked_for_and_its_needs():
    assert start([lambda: units(*reversed(NEEDS))], only=frozenset({"pip"})) == ["libc", "python", "pip"]


def test_failed_build_stops_the_rest():
    def build(unit):
        if unit.name == "python":
            raise UserError("python could not be built")

    done = []
    with pytest.raises(UserError, match="python could not be built"):
        run(
            [lambda: units(*NEEDS)],
            Board(frozenset(NEEDS)),
            lambda unit: NEEDS[unit.name],
            build,
            lambda unit: done.append(unit.name),
            2,
        )
    assert done == ["libc"]


def test_failed_download_is_raised():
    def fetch():
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"):
        start([fetch, lambda: units("libc")])


def test_need_that_nothing_makes_is_named():
    with pytest.raises(UserError, match="numpy needs pip, which nothing"):
        start([lambda: units("libc", "python", "numpy")])
