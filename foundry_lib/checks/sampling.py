"""Exercises of lesson 08: the filters. Each takes scores (..., V) and gives scores (..., V), removed tokens at −∞."""

import torch

from .ladder import Exercise

INF = float("inf")


def scores(*shape, seed=0, spread=2.0):
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def row_by_row(one):
    """Make a filter of one row (V,) into one of any number of rows."""

    def all_rows(logits, setting):
        rows = [one(row, setting) for row in logits.reshape(-1, logits.shape[-1])]
        return torch.stack(rows).reshape(logits.shape)

    return all_rows


def keep(row, kept):
    return torch.tensor([value if token in kept else -INF for token, value in enumerate(row.tolist())])


def heated(row, t):
    return row / t if t > 0 else keep(row, {row.argmax().item()})


temperature = Exercise(
    "temperature",
    "my_temperature(logits, t) → scores of the same shape",
    [
        {"logits": scores(7), "t": 0.5},
        {"logits": scores(2, 5, seed=1), "t": 2.0},
        {"logits": scores(2, 3, 4, seed=2), "t": 1.3},
        {"logits": scores(3, 6, seed=3), "t": 0.0},
    ],
    row_by_row(heated),
    {
        "A high temperature makes it sharper, and it should make it flatter. Multiply or divide?": row_by_row(
            lambda row, t: row * t if t > 0 else heated(row, 0)
        ),
        "These are probabilities. On which side of the softmax does the temperature act?": row_by_row(
            lambda row, t: row.softmax(-1) / t if t > 0 else heated(row, 0)
        ),
        "The softmax is already taken. Who takes it later, for all filters together?": row_by_row(
            lambda row, t: (row / t).softmax(-1) if t > 0 else heated(row, 0)
        ),
        "These are probabilities, at temperature 0 too. Who takes the softmax later, for all filters?": row_by_row(
            lambda row, t: heated(row, t).softmax(-1)
        ),
        "These are probabilities, and at temperature 0 NaN. What do the other filters expect, and what is left when "
        "nothing is left to chance?": lambda logits, t: (logits / t).softmax(-1),
        "At temperature 0 there is NaN or infinity. What is left to choose when nothing is left to chance?": (
            lambda logits, t: logits / t
        ),
        "At temperature 0 nothing is removed. Which tokens can still be drawn?": row_by_row(
            lambda row, t: row / t if t > 0 else row
        ),
        "At temperature 0 one token of all rows together is left. How many choices are made in a batch?": (
            lambda logits, t: logits / t if t > 0 else logits.masked_fill(logits < logits.max(), -INF)
        ),
        "The temperature is subtracted: that moves all scores alike, and softmax does not notice.": row_by_row(
            lambda row, t: row - t if t > 0 else heated(row, 0)
        ),
        "At temperature 0 the removed tokens have the score 0. Is a score of 0 impossible?": row_by_row(
            lambda row, t: row / t if t > 0 else heated(row, 0).nan_to_num(neginf=0.0)
        ),
    },
)


def best(row, k):
    """The tokens that fewer than k others beat: with a tie at the border, all of the tied."""
    values = row.tolist()
    return keep(row, {token for token, value in enumerate(values) if sum(other > value for other in values) < k})


TIED = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0, -1.0], [0.5, 0.1, 0.3, 0.3, 0.2, 4.0]])
top_k = Exercise(
    "top_k",
    "my_top_k(logits, k) → scores of the same shape",
    [
        {"logits": scores(9, seed=4), "k": 3},
        {"logits": scores(3, 7, seed=5), "k": 2},
        {"logits": TIED, "k": 2},
        {"logits": scores(2, 2, 5, seed=6), "k": 1},
        {"logits": scores(4, seed=7), "k": 10},
    ],
    row_by_row(best),
    {
        "One token too many is kept. With which place of the order is compared?": row_by_row(
            lambda row, k: best(row, k + 1)
        ),
        "One token too few is kept. Does the k-th itself stay?": row_by_row(lambda row, k: best(row, max(1, k - 1))),
        "The unlikeliest are kept. Which end of the order is the good one?": row_by_row(
            lambda row, k: keep(row, set(row.argsort()[:k].tolist()))
        ),
        "Removed tokens have the score 0, and e⁰ is 1. Which score can not be drawn?": row_by_row(
            lambda row, k: best(row, k).nan_to_num(neginf=0.0)
        ),
        "Of two that are equally likely at the border one was kept. What tells them apart?": row_by_row(
            lambda row, k: keep(row, set(row.argsort(descending=True, stable=True)[:k].tolist()))
        ),
        "All rows share one border. Is what is likely in one row likely in another?": lambda logits, k: (
            logits.masked_fill(logits < logits.flatten().topk(min(k, logits.shape[-1])).values[-1], -INF)
        ),
        "With k larger than the vocabulary it does not run. What should k = 10 keep of 4 tokens?": lambda logits, k: (
            logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1:], -INF)
        ),
        "These are probabilities. Which form do the other filters expect?": lambda logits, k: row_by_row(best)(
            logits, k
        ).softmax(-1),
    },
)


def nucleus(row, p, cross=True):
    """From the likeliest on, until p is reached; the one that crosses p belongs to it."""
    probs, kept, total = row.softmax(-1), set(), 0.0
    for token in probs.argsort(descending=True, stable=True).tolist():
        if total >= p or (not cross and total + probs[token] > p):
            break
        kept.add(token)
        total += probs[token].item()
    return keep(row, kept)


def above_share(row, p):
    probs = row.softmax(-1)
    return keep(row, set((probs >= 1 - p).nonzero().flatten().tolist()))


def unsorted(row, p):
    probs = row.softmax(-1)
    return keep(row, set(((probs.cumsum(-1) - probs) < p).nonzero().flatten().tolist()))


def from_below(row, p):
    probs, kept, total = row.softmax(-1), set(), 0.0
    for token in probs.argsort().tolist():
        if total >= p:
            break
        kept.add(token)
        total += probs[token].item()
    return keep(row, kept)


top_p = Exercise(
    "top_p",
    "my_top_p(logits, p) → scores of the same shape",
    [
        {"logits": scores(8, seed=8), "p": 0.8},
        {"logits": torch.tensor([5.0, 1.0, 0.5, 0.0]), "p": 0.5},
        {"logits": scores(2, 7, seed=9, spread=0.7), "p": 0.6},
        {"logits": scores(2, 2, 5, seed=10), "p": 0.95},
        {"logits": scores(3, 6, seed=11), "p": 0.3},
    ],
    row_by_row(nucleus),
    {
        "The token that crosses p is missing; where the likeliest alone holds more than p, none is left. What must "
        "stay?": row_by_row(lambda row, p: nucleus(row, p, cross=False)),
        "It added up from the left, in the order of the ids. In which order must it be?": row_by_row(unsorted),
        "It began with the unlikeliest. From which end is the set the smallest?": row_by_row(from_below),
        "It kept each token with a probability above 1 − p by itself. What must reach p, each token or their sum?": (
            row_by_row(above_share)
        ),
        "Removed tokens have the score 0. What does softmax make of a score of 0?": row_by_row(
            lambda row, p: nucleus(row, p).nan_to_num(neginf=0.0)
        ),
        "One token more than needed is kept. Has p been reached before it?": row_by_row(
            lambda row, p: best(row, int(nucleus(row, p).isfinite().sum()) + 1)
        ),
        "The right set, but as probabilities. Which form do the other filters expect here?": lambda logits, p: (
            row_by_row(nucleus)(logits, p).softmax(-1)
        ),
        "It keeps the share p of the vocabulary. Of what should p be a share?": row_by_row(
            lambda row, p: best(row, max(1, round(p * len(row))))
        ),
    },
)
