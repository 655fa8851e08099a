"""Measure a model folder on questions kept out of training: the share answered right to the letter, by category.

python evaluate.py [--model recipes/vllm-demo-model/model] [--failures]
python evaluate.py --ask "What is vllm?"
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path

import arithmetic
import torch
from corpus import Corpus, Example, render
from export import MODEL
from network import Llama, Shape
from safetensors.torch import load_file
from tokenizer import TURN_END
from tokenizers import Tokenizer
from torch import Tensor
from train import encode

SEED = 7
ROWS = 12  # rows of a table asked about
SUMS = 300


def questions(corpus: Corpus) -> list[tuple[str, str, str]]:
    """Return (category, question, answer) of every unseen wording; half get a capital letter and a question mark."""
    rng = random.Random(SEED)
    found = [("unknown", text, corpus.unknown.answer) for text in corpus.unknown.unseen]
    for intent in corpus.intents:
        rows = rng.sample(sorted(intent.table.items()), min(ROWS, len(intent.table))) if intent.table else [("", "")]
        for text in intent.unseen:
            found += [(intent.category, intent.question(text, row, rng), intent.reply(row)) for row in rows]
    for _ in range(SUMS):
        question, answer = arithmetic.held_out_exercise(rng)
        found.append(("arithmetic", question, answer))
    return [
        (category, question if rng.random() < 0.5 else question[:1].upper() + question[1:] + "?", answer)
        for category, question, answer in found
    ]


@torch.inference_mode()
def right(network: Llama, tokenizer: Tokenizer, example: Example) -> bool:
    """True if greedy decoding writes the expected answer: each of its tokens is the likeliest after those before it."""
    ids, learn = encode(tokenizer, example, network.shape.max_position_embeddings)
    tokens, mask = torch.tensor([ids]), torch.tensor([learn])[:, 1:]
    logits = network(tokens[:, :-1], mask)
    return bool((logits.argmax(-1) == tokens[:, 1:][mask]).all())


@torch.inference_mode()
def reply(network: Llama, tokenizer: Tokenizer, question: str, limit: int = 150) -> str:
    """Return the greedy answer to a question."""
    ids = tokenizer.encode(render([(question, "")], None).text.removesuffix(f"{TURN_END}\n")).ids
    start, end = len(ids), tokenizer.token_to_id(TURN_END)
    while len(ids) < start + limit:
        last = torch.zeros(1, len(ids), dtype=torch.bool)
        last[0, -1] = True
        token = int(network(torch.tensor([ids]), last).argmax())
        if token == end:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:])


def load(folder: Path) -> tuple[Llama, Tokenizer]:
    network = Llama(Shape())
    weights: dict[str, Tensor] = load_file(folder / "model.safetensors")
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--failures", action="store_true", help="print each wrong answer")
    parser.add_argument("--ask", nargs="+", metavar="QUESTION", help="print the answers to these questions instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, tokenizer = load(args.model)
    for question in args.ask or []:
        print(f"{question}\n    {reply(network, tokenizer, question)}")
    if args.ask:
        return
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for category, question, answer in questions(Corpus()):
        outcomes[category].append(right(network, tokenizer, render([(question, answer)], None)))
        if args.failures and not outcomes[category][-1]:
            print(f"{category}: {question}\n    {reply(network, tokenizer, question)}")
    outcomes["all"] = [outcome for results in outcomes.values() for outcome in results]
    for category, results in outcomes.items():
        print(f"{category:12} {sum(results):4} of {len(results):4}  {sum(results) / len(results):6.1%}")


if __name__ == "__main__":
    main()
