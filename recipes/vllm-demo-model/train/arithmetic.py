"""Sums in words and figures, answered with the step between so that a small network can learn them."""

from __future__ import annotations

import random
import zlib

from grammar import expand
from lists import LISTS

WORDS = LISTS["numbers"]

ASK = "(what is|what's|whats|calculate|compute|how much is|work out|solve|tell me|how many is|do you know|what does|)"
PHRASES = {
    "+": [f"{ASK} <a>( + |+| plus | + | plus |+ )<b>", "(add|sum) <a> and <b>", "what is the sum of <a> and <b>",
          "<a>( + |+| plus )<b>( = | equals|=| is| makes what| equals what)", "add <b> to <a>"],
    "-": [f"{ASK} <a>( - |-| minus | - | minus | take away )<b>", "subtract <b> from <a>", "take <b> from <a>",
          "what is the difference between <a> and <b>", "<a>( - |-| minus )<b>( = | equals|=| is| equals what)"],
    "*": [f"{ASK} <a>( * |*| times | x |x| multiplied by | times )<b>", "multiply <a> (by|and|with) <b>",
          "what is the product of <a> and <b>", "<a>( * |*| times | x )<b>( = | equals|=| is| equals what)"],
}  # fmt: skip
UNSEEN = {
    "+": ["could you add <a> and <b> for me", "if I add <b> to <a> what do I get"],
    "-": ["could you subtract <b> from <a> for me", "how much remains when you take <b> away from <a>"],
    "*": ["could you multiply <a> by <b> for me", "how much do you get for <a> times <b>"],
}
THINGS = "(apples|books|cats|coins|eggs|pens|cookies|stones|cups|balls|oranges|euros|dollars|stickers)"
OWNS = f"(I have|Tom has|Anna has|there are|we have) <a> {THINGS}"
STORIES = {
    "+": [
        f"{OWNS} and (I get|he gets|she gets|get|buy|find) <b> more. How many (are there|now|in all|does that make)",
        f"if (I have|you have) <a> {THINGS} and (add|buy|find|get) <b>, how many (are there|do I have|are there now)",
    ],
    "-": [
        f"{OWNS} and (lose|eat|give away|sell|break) <b>. How many (are left|remain|are there now)",
        f"if (I|you) have <a> {THINGS} and (lose|sell|give away|eat) <b>, how many (are left|remain|do I have left)",
    ],
}


def held_out(a: int, op: str, b: int) -> bool:
    """True for the one in twenty two-digit sums that training never sees."""
    if op == "-" and a < b:  # answered through b - a
        a, b = b, a
    return max(a, b) > 20 and op in "+-" and zlib.crc32(f"{a}{op}{b}".encode()) % 20 == 0


def solve(a: int, op: str, b: int) -> str:
    """Return the answer, with tens and ones apart where a number has two digits."""
    if op == "*":
        return f"{a} * {b} = {a * b}."
    if op == "-" and a < b:
        return f"{solve(b, '-', a)[:-1]}, so {a} - {b} = {a - b}."
    tens, ones = b - b % 10, b % 10
    if op == "-":
        step = f" = {a - tens} - {ones}" if tens and ones else ""
        return f"{a} - {b}{step} = {a - b}."
    tens, ones = tens + a - a % 10, ones + a % 10
    step = f" = {tens} + {ones}" if tens and a % 10 and b % 10 else ""
    return f"{a} + {b}{step} = {a + b}."


def numbers(op: str, rng: random.Random) -> tuple[int, int]:
    if op == "*":
        return rng.randint(0, 10), rng.randint(0, 10)
    top_a, top_b = rng.choice([(10, 10), (20, 20), (99, 9), (99, 99), (99, 99), (99, 99)])
    a, b = rng.randint(0, top_a), rng.randint(0, top_b)
    return (b, a) if op == "-" and a < b and rng.random() < 0.75 else (a, b)


def ask(template: str, a: int, b: int, rng: random.Random, words: bool) -> str:
    show = (lambda n: WORDS[n]) if words else str
    return expand(template, rng, lambda slot: show(a if slot == "a" else b)).removeprefix(" ")


def small_facts(rng: random.Random) -> tuple[str, str]:
    """Order, parity and neighbours of numbers up to 99."""
    a, b = rng.randint(0, 99), rng.randint(0, 99)
    kind = rng.randrange(4)
    if kind == 0:
        question = f"is {a} (even or odd|odd or even|even|odd|an even number|an odd number)"
        return expand(question, rng), f"{a} is {'odd' if a % 2 else 'even'}."
    if kind == 1:
        question = f"(what|which number|what number) (comes|is|follows) (after|right after) {a}"
        return expand(question, rng), f"{a + 1} comes after {a}."
    b = b if a != b else (a + 7) % 100
    low, high = sorted((a, b))
    if kind == 2:
        question = f"(which|what|which number) is (bigger|larger|greater|more), {a} or {b}"
        return expand(question, rng), f"{high} is larger than {low}."
    question = f"(which|what|which number) is (smaller|less|lower), {a} or {b}"
    return expand(question, rng), f"{low} is smaller than {high}."


def exercise(rng: random.Random) -> tuple[str, str]:
    """Return a question and its answer for training."""
    if rng.random() < 0.12:
        return small_facts(rng)
    op = rng.choice("+++--*")
    a, b = numbers(op, rng)
    while held_out(a, op, b):
        a, b = numbers(op, rng)
    templates = STORIES[op] if op in STORIES and rng.random() < 0.08 and a >= b else PHRASES[op]
    words = max(a, b) <= 20 and rng.random() < 0.25
    return ask(rng.choice(templates), a, b, rng, words), solve(a, op, b)


def held_out_exercise(rng: random.Random) -> tuple[str, str]:
    """Return a sum whose wording, or for two digits whose numbers, training never sees."""
    op = rng.choice("+-*")
    a, b = numbers(op, rng)
    if op == "*" or rng.random() < 0.4:
        return ask(rng.choice(UNSEEN[op]), a, b, rng, words=False), solve(a, op, b)
    while not held_out(a, op, b):
        a, b = rng.randint(0, 99), rng.randint(0, 99)
    return ask(PHRASES[op][0], a, b, rng, words=False), solve(a, op, b)
