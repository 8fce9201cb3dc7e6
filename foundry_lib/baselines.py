"""Losses to compare with: what simple predictors reach on the same validation tokens."""

import math

import numpy as np

from .data import DataLoader


def unigram_probs(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each token occurs, (V,), each counted once more than it did so that none is impossible."""
    counts = np.bincount(tokens, minlength=vocab_size) + 1.0
    return counts / counts.sum()


def unigram_loss(train: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Nats a token of the predictor that knows how frequent tokens are and nothing else."""
    return float(-np.log(unigram_probs(train, vocab_size)[targets]).mean())


def bigram_loss(train: np.ndarray, before: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Nats a token of the table of pairs, p(b | a) = (count(a, b) + λ·p(b)) / (count(a) + λ).

    before, targets: the tokens a, each known, and b, each to be predicted.
    λ is the value that suits this very validation text best, so that the line is as low as such a table can get:
    a model below it has learned something that pairs do not hold. (Jelinek and Mercer's
    interpolation, in Dirichlet form.)
    """
    train, before, targets = (array.astype(np.int64) for array in (train, before, targets))
    pairs, counts = np.unique(train[:-1] * vocab_size + train[1:], return_counts=True)
    wanted = before * vocab_size + targets
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    pair_count = np.where(pairs[place] == wanted, counts[place], 0)
    first_count = np.bincount(train[:-1], minlength=vocab_size)[before]
    unigram = unigram_probs(train, vocab_size)[targets]
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
