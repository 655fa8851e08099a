"""The tokenizer: byte-level BPE learnt from the training text, each digit a token of its own."""

from __future__ import annotations

import random
from pathlib import Path

from corpus import Corpus
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [END_OF_TEXT, TURN_START, TURN_END]
SAMPLES = 40_000


def train(corpus: Corpus, vocab_size: int, seed: int) -> Tokenizer:
    """Return a tokenizer learnt from the first examples of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r"\d| ?[A-Za-z]+|'[a-z]+| ?[^\sA-Za-z\d]+|\s+(?!\S)|\s")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(seed)
    texts = (text for _ in range(SAMPLES) for text, _ in corpus.example(rng).spans)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_or_train(path: Path, corpus: Corpus, vocab_size: int, seed: int) -> Tokenizer:
    """Return the tokenizer stored at path, making it first where there is none."""
    if not path.exists():
        train(corpus, vocab_size, seed).save(str(path))
    return Tokenizer.from_file(str(path))
