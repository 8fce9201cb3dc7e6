"""Losses to compare with: what simple predictors reach on the same validation tokens."""

import math
from collections.abc import Iterator

import numpy as np

from .loader import DataLoader

CHUNK = 2**19  # tokens per part: a token takes 16 bits in the text's array and 64 bits while it is counted


def chunks(tokens: np.ndarray) -> Iterator[np.ndarray]:
    """Tokens in parts of CHUNK, 64 bits each. A part begins with the last token of the part before: no pair is lost.

    >>> [part.tolist() for part in chunks(np.array([1, 5, 2], dtype=np.uint16))]
    [[1, 5, 2]]
    """
    for start in range(0, max(1, len(tokens) - 1), CHUNK):
        yield tokens[start : start + CHUNK + 1].astype(np.int64)


def unigram_probs(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """The frequency of each token, (V,). One is added to every count, so that no token has probability 0.

    >>> unigram_probs(np.array([0, 1, 0], dtype=np.uint16), 3) * 6
    array([3., 2., 1.])
    """
    counts = 1.0 + np.bincount(tokens[-1:], minlength=vocab_size)
    for part in chunks(tokens):
        counts += np.bincount(part[:-1], minlength=vocab_size)
    return counts / counts.sum()


def unigram_loss(train: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Nats per token of a predictor that only knows how frequent each token is."""
    return float(-np.log(unigram_probs(train, vocab_size)[targets]).mean())


def bigram_loss(train: np.ndarray, before: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Nats per token of the table of pairs, p(b | a) = (count(a, b) + λ·p(b)) / (count(a) + λ).

    before: the tokens a, each known. targets: the tokens b, each to be predicted.
    λ is the value with the lowest loss on this validation text, so no such table has a lower line. A model below it has
    learned more than pairs. (Dirichlet smoothing, MacKay & Peto 1995.)
    """
    before, targets = before.astype(np.int64), targets.astype(np.int64)
    pairs, pair_of_target = np.unique(before * vocab_size + targets, return_inverse=True)
    counts, first_counts = np.zeros(len(pairs)), np.zeros(vocab_size)
    for part in chunks(train):
        seen, times = np.unique(part[:-1] * vocab_size + part[1:], return_counts=True)
        index = np.minimum(np.searchsorted(seen, pairs), len(seen) - 1)
        counts += np.where(seen[index] == pairs, times[index], 0)
        first_counts += np.bincount(part[:-1], minlength=vocab_size)
    pair_count, first_count = counts[pair_of_target], first_counts[before]
    unigram = unigram_probs(train, vocab_size)[targets]
    return min(
        float(-np.log((pair_count + strength * unigram) / (first_count + strength)).mean())
        for strength in 2.0 ** np.arange(-4, 16)
    )


def reference_lines(loader: DataLoader) -> dict[str, float]:
    """ln V, unigram and bigram in nats per token over the loader's validation targets, the highest first.

    For tales two more: "no memory", the no-memory baseline, which knows the grammar and remembers nothing of
    the story, and "floor", the lowest expected loss.
    """
    (before, targets), train, V = loader.val_pairs(), loader.train_tokens, loader.vocab_size
    lines = {
        "ln V": math.log(V),
        "unigram": unigram_loss(train, targets, V),
        "bigram": bigram_loss(train, before, targets, V),
    }
    if loader.floor is not None:
        lines |= {"no memory": loader.floor.forgetful, "floor": loader.floor.nats}
    return lines


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """A loss in a unit that does not depend on the tokenizer: bits per UTF-8 byte of the text.

    >>> round(bits_per_byte(2.0, 4.0), 3)
    0.721
    """
    return nats_per_token / math.log(2) / bytes_per_token
