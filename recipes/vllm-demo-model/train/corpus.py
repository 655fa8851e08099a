"""The training text: questions and answers from text/*.yaml and arithmetic.py, mixed into chats."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import arithmetic
import yaml
from grammar import as_typed, expand
from lists import LISTS, TEXT


def normal(text: str) -> str:
    """A question without case, spaces and punctuation, to compare wordings."""
    return re.sub(r"\W", "", text.lower())


@dataclass(frozen=True)
class Intent:
    """Questions that share one answer, or one answer a table row."""

    id: str
    category: str
    answer: str
    ask: list[str]
    unseen: list[str]
    weight: float = 1.0
    table: dict[str, str] = field(default_factory=dict)
    complete: list[str] = field(default_factory=list)

    def row(self, rng: random.Random) -> tuple[str, str]:
        return rng.choice(list(self.table.items())) if self.table else ("", "")

    def question(self, template: str, row: tuple[str, str], rng: random.Random) -> str:
        return expand(template, rng, lambda slot: row[0] if slot == "key" else row[1])

    def unseen_questions(self) -> list[str]:
        """Every question of the evaluation: each unseen wording for each row."""
        rows = list(self.table.items()) or [("", "")]
        return [text.replace("<key>", key).replace("<value>", value) for text in self.unseen for key, value in rows]

    def reply(self, row: tuple[str, str]) -> str:
        text = self.answer.replace("<key>", row[0]).replace("<value>", row[1])
        return text[:1].upper() + text[1:] if self.table else text


def load_intents() -> list[Intent]:
    """Read every intent of text/*.yaml but those of unknown.yaml."""
    intents = []
    for path in sorted(TEXT.glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        for entry in content.get("intents", []):
            if entry.pop("both_ways", False):
                entry["table"] |= {value: key for key, value in entry["table"].items() if value not in entry["table"]}
            intents.append(Intent(category=content["category"], **entry))
    return intents


class Unknown:
    """Questions beyond the model, answered by a polite refusal."""

    def __init__(self) -> None:
        content = yaml.safe_load((TEXT / "unknown.yaml").read_text())
        self.unseen = content["unseen"]
        self.answer = content["answer"]
        self.answers = [entry | {"answer": entry.get("answer", self.answer)} for entry in content["answers"]]
        self.weights = [entry["weight"] for entry in self.answers]
        self.slots = content["slots"]

    def fill(self, slot: str, rng: random.Random) -> str:
        if slot == "nonsense":
            return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))
        if slot in ("small", "two", "year", "big"):
            big = (100, 10 ** rng.randint(3, 5))
            return str(rng.randint(*{"small": (1, 9), "two": (11, 99), "year": (1492, 2035), "big": big}[slot]))
        return rng.choice(self.slots[slot])

    def exercise(self, rng: random.Random) -> tuple[str, str]:
        entry = rng.choices(self.answers, self.weights)[0]
        template = rng.choice(entry["ask"])
        return expand(template, rng, lambda slot: self.fill(slot, rng)), entry["answer"]


@dataclass(frozen=True)
class Example:
    """Spans of text, each marked with whether the model is to learn to write it."""

    spans: list[tuple[str, bool]]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


def render(turns: list[tuple[str, str]], system: str | None) -> Example:
    """Return a chat in the form that the chat template gives."""
    spans = [(f"<|im_start|>system\n{system}<|im_end|>\n", False)] if system else []
    for question, answer in turns:
        spans.append((f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", False))
        spans += [(f"{answer}<|im_end|>", True), ("\n", False)]
    return Example(spans)


class Corpus:
    """An endless, seeded source of examples."""

    ARITHMETIC, UNKNOWN, NAMES, COMPLETION = 0.42, 0.14, 0.02, 0.02

    def __init__(self) -> None:
        self.intents = load_intents()
        self.weights = [intent.weight for intent in self.intents]
        self.unknown = Unknown()
        self.kept_out = {normal(text) for text in self.unknown.unseen}
        self.kept_out |= {normal(text) for intent in self.intents for text in intent.unseen_questions()}
        self.completions = [(intent, text) for intent in self.intents for text in intent.complete]

    def intent_turns(self, rng: random.Random) -> list[tuple[str, str]]:
        """Return a question of one intent, perhaps with one that follows up on it."""
        intent = rng.choices(self.intents, self.weights)[0]
        row = intent.row(rng)
        question = as_typed(intent.question(rng.choice(intent.ask), row, rng), rng)
        turns = [(question, intent.reply(row))]
        if intent.table and rng.random() < 0.15:
            row = intent.row(rng)
            question = intent.question(rng.choice(LISTS["follow_ups"]), row, rng)
            turns.append((as_typed(question, rng, wording=False), intent.reply(row)))
        return turns

    def drawn_turns(self, rng: random.Random) -> list[tuple[str, str]]:
        draw = rng.random()
        if draw < self.ARITHMETIC:
            question, answer = arithmetic.exercise(rng)
            return [(as_typed(question, rng, wording=rng.random() < 0.5), answer)]
        if draw < self.ARITHMETIC + self.UNKNOWN:
            question, answer = self.unknown.exercise(rng)
            return [(as_typed(question, rng), answer)]
        return self.intent_turns(rng)

    def turns(self, rng: random.Random) -> list[tuple[str, str]]:
        """Return one exchange, or two that belong together; never a question of the evaluation."""
        while True:
            turns = self.drawn_turns(rng)
            if not any(normal(question) in self.kept_out for question, _ in turns):
                return turns

    def name_chat(self, rng: random.Random) -> list[tuple[str, str]]:
        """A chat in which the user's name is told, then asked for."""
        name = rng.choice(LISTS["names"]) if rng.random() < 0.6 else self.unknown.fill("nonsense", rng).capitalize()
        asked = as_typed(expand(rng.choice(LISTS["ask_name"]), rng), rng)
        if rng.random() < 0.25:
            return [(asked, "You have not told me your name.")]
        told = as_typed(expand(rng.choice(LISTS["tell_name"]), rng, lambda _: name), rng, wording=False)
        between = [turn for _ in range(rng.randint(0, 2)) for turn in self.turns(rng)]
        greeting = f"Nice to meet you, {name}! What would you like to know?"
        return [(told, greeting), *between, (asked, f"Your name is {name}.")]

    def completion(self, rng: random.Random) -> Example:
        """A plain sentence for /v1/completions, without chat markup."""
        intent, text = rng.choice(self.completions)
        key, value = intent.row(rng)
        prompt, rest = text.replace("<key>", key).replace("<value>", value).split(" |")
        return Example([(prompt, False), (rest + "<|endoftext|>", True)])

    def example(self, rng: random.Random) -> Example:
        draw = rng.random()
        if draw < self.COMPLETION:
            return self.completion(rng)
        turns = self.name_chat(rng) if draw < self.COMPLETION + self.NAMES else []
        wanted = rng.choices([1, 2, 3, 5, 12], [0.55, 0.2, 0.15, 0.09, 0.01])[0]
        while len(turns) < wanted:
            turns += self.turns(rng)
        return render(turns, rng.choice(LISTS["system_prompts"]) if rng.random() < 0.25 else None)
