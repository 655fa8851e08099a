"""Text templates: ``(a|b|)`` picks one alternative (they nest), ``<slot>`` is filled from a table."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from lists import LISTS

INNERMOST = re.compile(r"\(([^()]*)\)")
SLOT = re.compile(r"<(\w+)>")


def expand(template: str, rng: random.Random, fill: Callable[[str], str] | None = None) -> str:
    """Return one text of the template; fill(slot name) gives the text of a slot."""
    while match := INNERMOST.search(template):
        template = template[: match.start()] + rng.choice(match[1].split("|")) + template[match.end() :]
    if fill:
        template = SLOT.sub(lambda match: fill(match[1]), template)
    return re.sub(r" +", " ", template).strip().replace(" ?", "?")


QUESTION = re.compile(
    r"^(what|who|which|where|when|why|how|is|are|can|could|do|does|will|may|should|has|have|did|was|were|am)\b", re.I
)


WHAT_IS = re.compile(r"^what(?:'s| is) ((?:\S+ ?){1,6})$", re.I)
HOW_DO_I = re.compile(r"^how (?:do|can) I (.+)$", re.I)


def indirectly(text: str, rng: random.Random) -> str:
    """Ask the same as part of a longer sentence: what is X - please tell me what X is."""
    lead = rng.choice(LISTS["leads"])
    if match := WHAT_IS.match(text):
        return f"{lead} what {match[1]} is"
    if match := HOW_DO_I.match(text):
        return rng.choice([f"{lead} how to {match[1]}", f"how could I {match[1]}", f"how does one {match[1]}"])
    return f"{lead} {text}" if QUESTION.match(text) else text


def misspell(text: str, rng: random.Random) -> str:
    """Change one letter inside one longer word: dropped, doubled or swapped with the next."""
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not places:
        return text
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(1, len(word) - 2)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[place] = rng.choice([word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], swapped])
    return " ".join(words)


def as_typed(text: str, rng: random.Random, wording: bool = True) -> str:
    """Vary a question as people type: politeness, case, punctuation, slips. wording=False leaves the words alone."""
    if wording and rng.random() < 0.12:
        text = indirectly(text, rng)
    if wording and rng.random() < 0.22:
        text = rng.choice(LISTS["prefixes"]) + text
    if wording and rng.random() < 0.12:
        text += rng.choice(LISTS["suffixes"])
    if rng.random() < 0.6:
        asks = QUESTION.match(text)
        text += rng.choice(["?", "?", "?", "??", " ?", "", "."]) if asks else rng.choice([".", "!", "", "?", "", "..."])
    case = rng.random()
    if case < 0.45:
        text = text[:1].upper() + text[1:]
    elif case < 0.75:
        text = text.lower()
    elif case < 0.78:
        text = text.upper()
    if rng.random() < 0.12:
        text = text.replace("'", "")
    if wording and rng.random() < 0.08:
        text = misspell(text, rng)
    return text
