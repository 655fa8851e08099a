"""Train the demo model from nothing on one CPU core: deterministic, resumable, with progress.

python train.py --work WORK [--tokens 10e6]     # WORK/tokenizer.json, WORK/checkpoint.pt; run again to go on
python export.py --work WORK                   # the model folder
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from corpus import Corpus, Example
from network import Llama, Shape
from tokenizer import load_or_train
from tokenizers import Tokenizer
from torch import Tensor

SEED = 20
BATCH_TOKENS = 6144
POOL_BATCHES = 8  # batches cut from one pool of examples sorted by length, so that little is padding
WARM_UP = 0.02  # share of the run
MUON_RATE, ADAM_RATE = 0.02, 3e-3


def encode(tokenizer: Tokenizer, example: Example, limit: int) -> tuple[list[int], list[bool]]:
    """Return token ids and, for each, whether the model is to learn to predict it."""
    ids, learn = [], []
    for text, target in example.spans:
        span = tokenizer.encode(text).ids
        ids += span
        learn += [target] * len(span)
    return ids[:limit], learn[:limit]


def pool(tokenizer: Tokenizer, corpus: Corpus, number: int, limit: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the batches of one pool: tokens, targets [rows, length] and the mask of targets that count."""
    rng = random.Random(f"{SEED}:{number}")
    rows, total = [], 0
    while total < BATCH_TOKENS * POOL_BATCHES:
        rows.append(encode(tokenizer, corpus.example(rng), limit))
        total += len(rows[-1][0])
    rows.sort(key=lambda row: len(row[0]))
    batches: list[list] = [[]]
    for row in rows:
        if len(row[0]) * (len(batches[-1]) + 1) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    rng.shuffle(batches)
    for batch in batches:
        length = max(len(ids) for ids, _ in batch)
        tokens = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in batch])
        learn = torch.tensor([mask + [False] * (length - len(mask)) for _, mask in batch])
        yield tokens[:, :-1], tokens[:, 1:], learn[:, 1:]


class Trainer:
    """Network, optimizers and the position in the run."""

    def __init__(self, shape: Shape, budget: int) -> None:
        torch.manual_seed(SEED)
        self.network = Llama(shape)
        self.budget = budget
        self.seen, self.pools, self.seconds = 0, 0, 0.0
        matrices = [p for p in self.network.model.layers.parameters() if p.dim() == 2]
        others = [p for p in self.network.parameters() if all(p is not m for m in matrices)]
        self.optimizers = [
            torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.02),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def set_rates(self) -> None:
        done = self.seen / self.budget
        factor = min(1.0, (done + 0.001) / WARM_UP, max(0.0, 1 - done) / (1 - WARM_UP) + 0.01)
        for optimizer, rate in zip(self.optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def step(self, tokens: Tensor, targets: Tensor, learn: Tensor) -> float:
        self.set_rates()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.network(tokens, learn)
        loss = F.cross_entropy(logits, targets[learn])
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.seen += tokens.numel()
        return loss.item()

    def save(self, path: Path) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "position": (self.seen, self.pools, self.seconds),
        }
        torch.save(state, path.with_suffix(".partial"))
        os.replace(path.with_suffix(".partial"), path)

    def load(self, path: Path) -> None:
        state = torch.load(path)
        self.network.load_state_dict(state["network"])
        for optimizer, content in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(content)
        self.seen, self.pools, self.seconds = state["position"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for tokenizer.json and checkpoint.pt")
    parser.add_argument("--tokens", type=float, default=10e6, help="tokens to train on, padding included")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    shape, corpus, checkpoint = Shape(), Corpus(), args.work / "checkpoint.pt"
    tokenizer = load_or_train(args.work / "tokenizer.json", corpus, shape.vocab_size, SEED)
    trainer = Trainer(shape, int(args.tokens))
    if checkpoint.exists():
        trainer.load(checkpoint)
    while trainer.seen < trainer.budget:
        started, before = time.monotonic(), trainer.seen
        batches = pool(tokenizer, corpus, trainer.pools, shape.max_position_embeddings)
        losses = [trainer.step(*batch) for batch in batches]
        trainer.pools += 1
        elapsed = time.monotonic() - started
        trainer.seconds += elapsed
        rate = (trainer.seen - before) / elapsed
        trainer.save(checkpoint)
        share, left = trainer.seen / trainer.budget, (trainer.budget - trainer.seen) / rate / 60
        print(
            f"{share:6.1%}  {trainer.seen / 1e6:.2f}M tokens  loss {sum(losses) / len(losses):.4f}  "
            f"{rate:.0f} tokens/s  {trainer.seconds / 60:.1f} min  {left:.0f} min left",
            flush=True,
        )


if __name__ == "__main__":
    main()
