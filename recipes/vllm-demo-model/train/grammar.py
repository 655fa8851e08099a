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
