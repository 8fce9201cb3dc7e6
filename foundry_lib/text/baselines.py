"""Losses to compare with: what simple predictors reach on the same validation tokens."""

import math
from collections.abc import Iterator

import numpy as np

from .data import DataLoader

CHUNK = 2**19  # tokens that are counted at a time: they are 16 bits each where they lie, and 64 where they are counted


def chunks(tokens: np.ndarray) -> Iterator[np.ndarray]:
    """Tokens in parts of 64 bits each; a part begins with the last token of the one before, so no pair is lost."""
    for start in range(0, max(1, len(tokens) - 1), CHUNK):
        yield tokens[start : start + CHUNK + 1].astype(np.int64)


def unigram_probs(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each token occurs, (V,), each counted once more than it did so that none is impossible."""
    counts = 1.0 + np.bincount(tokens[-1:], minlength=vocab_size)
    for part in chunks(tokens):
        counts += np.bincount(part[:-1], minlength=vocab_size)
    return counts / counts.sum()


def unigram_loss(train: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Nats a token of the predictor that knows how frequent tokens are and nothing else."""
    return float(-np.log(unigram_probs(train, vocab_size)[targets]).mean())


def bigram_loss(train: np.ndarray, before: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Nats a token of the table of pairs, p(b | a) = (count(a, b) + λ·p(b)) / (count(a) + λ).

    before, targets: the tokens a, each known, and b, each to be predicted.
    λ is the value that suits this very validation text best, so that the line is as low as such a table can get:
    a model below it has learned something that pairs do not hold. (Dirichlet smoothing, MacKay & Peto 1995.)
    """
    before, targets = before.astype(np.int64), targets.astype(np.int64)
    pairs, wanted = np.unique(before * vocab_size + targets, return_inverse=True)
    counts, first_counts = np.zeros(len(pairs)), np.zeros(vocab_size)
    for part in chunks(train):
        found, times = np.unique(part[:-1] * vocab_size + part[1:], return_counts=True)
        place = np.minimum(np.searchsorted(found, pairs), len(found) - 1)
        counts += np.where(found[place] == pairs, times[place], 0)
        first_counts += np.bincount(part[:-1], minlength=vocab_size)
    pair_count, first_count, unigram = counts[wanted], first_counts[before], unigram_probs(train, vocab_size)[targets]
    return min(
        float(-np.log((pair_count + strength * unigram) / (first_count + strength)).mean())
        for strength in 2.0 ** np.arange(-4, 16)
    )


def reference_lines(loader: DataLoader) -> dict[str, float]:
    """ln V, unigram and bigram, in nats a token over the loader's validation targets, the highest first.

    For tales two more: "forgets the story", the best reader who knows the grammar and remembers nothing, and "floor",
    the best reader there can be.
    """
    (before, targets), train, V = loader.val_pairs(), loader.train_tokens, loader.vocab_size
    lines = {
        "ln V": math.log(V),
        "unigram": unigram_loss(train, targets, V),
        "bigram": bigram_loss(train, before, targets, V),
    }
    if loader.floor is not None:
        lines |= {"forgets the story": loader.floor.forgetful, "floor": loader.floor.nats}
    return lines


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """A loss in a unit that does not depend on the tokenizer: bits for each UTF-8 byte of the text."""
    return nats_per_token / math.log(2) / bytes_per_token
