"""Exercises of lesson 08: the filters. Each takes scores (..., V) and gives scores (..., V), removed tokens at −∞."""

import torch
from torch.nn.functional import one_hot

from .ladder import Exercise, leaves

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


def greedy_by(make):
    """Right where it is warm; at temperature 0 `make(logits)`."""
    return lambda logits, t: logits / t if t > 0 else make(logits)


def is_best(logits):
    return logits == logits.amax(-1, keepdim=True)


def not_by_a_tiny_number(work, case):
    """False where temperature 0 gives the scores many times as large, whatever they were divided by."""
    if case["t"] > 0:
        return True
    grown = leaves(work(*case.values()))[0] / case["logits"]
    return not (grown.isfinite().all() and grown.min() > 10 and grown.max() < 1.01 * grown.min())


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
        "A temperature of nearly 0 is still warm. What should be left to choose at 0 itself?": lambda logits, t: (
            logits / max(t, 1e-6)
        ),
        "At temperature 0 the right token stays, but with another score than it had: the one that stays keeps its "
        "score. Where does the 0 come from?": greedy_by(lambda logits: torch.where(is_best(logits), 0.0, -INF)),
        "At temperature 0 there is a 1 for the likeliest and a 0 for the others, as if they were probabilities. Which "
        "chance does the softmax give to a score of 0?": greedy_by(lambda logits: is_best(logits).to(logits.dtype)),
        "At temperature 0 whole numbers came out, 1 for the likeliest and 0 for the others. What do the other filters "
        "expect?": greedy_by(lambda logits: one_hot(logits.argmax(-1), logits.shape[-1])),
        "At temperature 0 the id of the likeliest came out. Who draws a token, a filter or the one who calls it?": (
            greedy_by(lambda logits: logits.argmax(-1))
        ),
    },
    {
        "At temperature 0 nothing was removed: the scores were divided by something tiny, and all became huge. Which "
        "score can never be drawn?": not_by_a_tiny_number,
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
        "Of several equally likely at the border only some were kept, as torch.topk happened to pick them. What tells "
        "them apart?": lambda logits, k: torch.full_like(logits, -INF).scatter(
            -1, *logits.topk(min(k, logits.shape[-1]), dim=-1)[::-1]
        ),
        "The k-th token itself is gone, and with k = 1 nothing is left. What should happen to a score that equals the "
        "border?": lambda logits, k: logits.masked_fill(
            logits <= logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:], -INF
        ),
        "With k larger than the vocabulary it looks for a place that a sorted row does not have. How many places has "
        "one of 4 tokens?": lambda logits, k: logits.masked_fill(
            logits < logits.sort(dim=-1, descending=True).values[..., k - 1, None], -INF
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


def in_order(logits, p):
    """The scores from the likeliest on, the tokens in this order, and which places are too far down."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probs = ordered.softmax(-1)
    return ordered, order, probs.cumsum(-1) - probs >= p


def mask_left_in_order(logits, p):
    return logits.masked_fill(in_order(logits, p)[2], -INF)


def scores_left_in_order(logits, p):
    ordered, _, remove = in_order(logits, p)
    return ordered.masked_fill(remove, -INF)


def scores_gathered(logits, p):
    ordered, order, remove = in_order(logits, p)
    return ordered.masked_fill(remove, -INF).gather(-1, order)


def mask_gathered(logits, p):
    _, order, remove = in_order(logits, p)
    return logits.masked_fill(remove.gather(-1, order), -INF)


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
        "The right number of tokens is kept, but not the right ones: what was found in sorted order was used on the "
        "unsorted scores. Which token does its first place speak of?": mask_left_in_order,
        "The right scores are kept, but from the likeliest down. Whose score is the first one of a row?": (
            scores_left_in_order
        ),
        "The scores went back to the wrong tokens. `order` says which token stands at a place: does it also say at "
        "which place a token stands?": scores_gathered,
        "The scores stand where they should, but what is removed went back to the wrong tokens. What does `order` "
        "hold, tokens or places?": mask_gathered,
        "Each token had to reach p alone, and often none does. Whose probabilities are added up?": (
            lambda logits, p: logits.masked_fill(logits.softmax(-1) < p, -INF)
        ),
    },
)
