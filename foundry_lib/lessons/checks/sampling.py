"""Exercises of lesson 08: the filters. Each takes scores (..., V) and gives scores (..., V), removed tokens at −∞."""

import math
from functools import wraps

import torch
from torch.nn.functional import one_hot

from .ladder import Exercise, leaves

INF = float("inf")


def scores(*shape, seed=0, spread=2.0):
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def row_by_row(one):
    """A filter of one row (V,) as a filter of any number of rows (..., V)."""

    @wraps(one)
    def all_rows(logits, setting):
        rows = [one(row, setting) for row in logits.reshape(-1, logits.shape[-1])]
        return torch.stack(rows).reshape(logits.shape)

    return all_rows


def keep(row, tokens):
    return torch.tensor([value if token in tokens else -INF for token, value in enumerate(row.tolist())])


def heated(row, t):
    return row / t if t > 0 else keep(row, {row.argmax().item()})


def greedy_by(make):
    """A filter that is right above temperature 0, and gives `make(logits)` at 0."""
    return wraps(make)(lambda logits, t: logits / t if t > 0 else make(logits))


def is_best(logits):
    return logits == logits.amax(-1, keepdim=True)


def not_by_a_tiny_number(work, case):
    """False where temperature 0 gives the scores times one large number: they were divided by a tiny number."""
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
        "At temperature 0 nothing was removed: the scores were divided by something tiny, and all became huge. Which "
        "score can never be drawn?": not_by_a_tiny_number,
    },
    shapes="... V -> ... V",
)


@temperature.mistake
@row_by_row
def multiplied_by_t(row, t):
    """A high temperature makes it sharper, and it should make it flatter. Multiply or divide?"""
    return row * t if t > 0 else heated(row, 0)


@temperature.mistake
@row_by_row
def divided_by_t_squared(row, t):
    """The scores were divided by t twice. How often does the formula divide?"""
    return row / t**2 if t > 0 else heated(row, 0)


@temperature.mistake
@row_by_row
def a_constant_subtracted(row, t):
    """The softmax of these scores would be right, but they are not logits / t: all scores of a row were moved by one
    number, as log_softmax does. The task asks for the quotients: which step is left over?"""
    return (row / t).log_softmax(-1) if t > 0 else heated(row, 0)


@temperature.mistake
@row_by_row
def the_largest_subtracted(row, t):
    """The softmax of these scores would be right, but the largest score was subtracted first. The task asks for
    logits / t: which step is left over?"""
    return (row - row.max()) / t if t > 0 else heated(row, 0)


@temperature.mistake
@row_by_row
def probabilities_divided_by_t(row, t):
    """These are probabilities. On which side of the softmax does the temperature act?"""
    return row.softmax(-1) / t if t > 0 else heated(row, 0)


@temperature.mistake
@row_by_row
def probabilities_when_warm(row, t):
    """The softmax is already taken. Who takes it later, for all filters together?"""
    return (row / t).softmax(-1) if t > 0 else heated(row, 0)


@temperature.mistake
@row_by_row
def probabilities_at_every_t(row, t):
    """These are probabilities, at temperature 0 too. Who takes the softmax later, for all filters?"""
    return heated(row, t).softmax(-1)


@temperature.mistake
def probabilities_and_zero_not_handled(logits, t):
    """These are probabilities, and at temperature 0 NaN. What do the other filters expect, and what is left when
    nothing is left to chance?"""
    return (logits / t).softmax(-1)


@temperature.mistake
def zero_not_handled(logits, t):
    """At temperature 0 there is NaN or infinity. What is left to choose when nothing is left to chance?"""
    return logits / t


@temperature.mistake
@row_by_row
def greedy_removes_nothing(row, t):
    """At temperature 0 nothing is removed. Which tokens can still be drawn?"""
    return row / t if t > 0 else row


@temperature.mistake
def one_greedy_choice_for_all_rows(logits, t):
    """At temperature 0 one token of all rows together is left. How many choices are made in a batch?"""
    return logits / t if t > 0 else logits.masked_fill(logits < logits.max(), -INF)


@temperature.mistake
@row_by_row
def t_subtracted(row, t):
    """The temperature is subtracted: that moves all scores alike, and softmax does not notice."""
    return row - t if t > 0 else heated(row, 0)


@temperature.mistake
@row_by_row
def greedy_scores_the_others_zero(row, t):
    """At temperature 0 the removed tokens have the score 0. Is a score of 0 impossible?"""
    return row / t if t > 0 else heated(row, 0).nan_to_num(neginf=0.0)


@temperature.mistake
def tiny_t_instead_of_greedy(logits, t):
    """A temperature of nearly 0 is still warm. What should be left to choose at 0 itself?"""
    return logits / max(t, 1e-6)


@temperature.mistake
@greedy_by
def greedy_scores_the_best_zero(logits):
    """At temperature 0 the right token stays, but with another score than it had: the one that stays keeps its
    score. Where does the 0 come from?"""
    return torch.where(is_best(logits), 0.0, -INF)


@temperature.mistake
@greedy_by
def greedy_one_hot(logits):
    """At temperature 0 there is a 1 for the best token and a 0 for the others, as if they were probabilities. Which
    chance does the softmax give to a score of 0?"""
    return is_best(logits).to(logits.dtype)


@temperature.mistake
@greedy_by
def greedy_one_hot_of_whole_numbers(logits):
    """At temperature 0 whole numbers came out, 1 for the best token and 0 for the others. What do the other filters
    expect?"""
    return one_hot(logits.argmax(-1), logits.shape[-1])


@temperature.mistake
@greedy_by
def greedy_id_instead_of_scores(logits):
    """At temperature 0 the id of the best token came out. Who samples a token, a filter or the one who calls it?"""
    return logits.argmax(-1)


def best(row, k):
    """The tokens that fewer than k others exceed. Where several tie for the last position, all of them."""
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
    shapes="... V -> ... V",
)


@top_k.mistake
@row_by_row
def one_token_too_many(row, k):
    """One token too many is kept. Which position of the order is the border?"""
    return best(row, k + 1)


@top_k.mistake
@row_by_row
def one_token_too_few(row, k):
    """One token too few is kept. Does the k-th itself stay?"""
    return best(row, max(1, k - 1))


@top_k.mistake
@row_by_row
def least_probable_kept(row, k):
    """The least probable are kept. Which end of the order is the good one?"""
    return keep(row, set(row.argsort()[:k].tolist()))


@top_k.mistake
@row_by_row
def top_k_scores_the_others_zero(row, k):
    """Removed tokens have the score 0, and e⁰ is 1. Which score can not be drawn?"""
    return best(row, k).nan_to_num(neginf=0.0)


@top_k.mistake
@row_by_row
def a_large_negative_score_for_the_others(row, k):
    """Removed tokens have a low score, but a finite one. Which score does softmax turn into exactly 0?"""
    return best(row, k).nan_to_num(neginf=-100.0)


@top_k.mistake
@row_by_row
def one_of_two_tied_kept(row, k):
    """Of two that are equally probable at the border one was kept. What tells them apart?"""
    return keep(row, set(row.argsort(descending=True, stable=True)[:k].tolist()))


@top_k.mistake
def one_border_for_all_rows(logits, k):
    """All rows share one border. Is what is probable in one row probable in another?"""
    return logits.masked_fill(logits < logits.flatten().topk(min(k, logits.shape[-1])).values[-1], -INF)


@top_k.mistake
def topk_with_k_beyond_the_vocabulary(logits, k):
    """With k larger than the vocabulary it does not run. What should k = 10 keep of 4 tokens?"""
    return logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1:], -INF)


@top_k.mistake
def some_of_the_tied_kept(logits, k):
    """Of several equally probable at the border only some were kept, as torch.topk happened to pick them. What tells
    them apart?"""
    return torch.full_like(logits, -INF).scatter(-1, *logits.topk(min(k, logits.shape[-1]), dim=-1)[::-1])


@top_k.mistake
def border_removed_too(logits, k):
    """The k-th token itself is gone, and with k = 1 nothing is left. What should happen to a score that equals the
    border?"""
    return logits.masked_fill(logits <= logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:], -INF)


@top_k.mistake
def index_k_beyond_the_vocabulary(logits, k):
    """With k larger than the vocabulary it looks for a position that a sorted row does not have. How many positions has
    one of 4 tokens?"""
    return logits.masked_fill(logits < logits.sort(dim=-1, descending=True).values[..., k - 1, None], -INF)


@top_k.mistake
def row_k_of_the_batch(logits, k):
    """The k-th row of the batch was taken for the k-th score of each row. On which axis does a plain [k − 1] count?"""
    return logits.masked_fill(logits < logits.sort(dim=-1, descending=True).values[min(k, logits.shape[-1]) - 1], -INF)


@top_k.mistake
def row_k_of_the_batch_and_k_too_large(logits, k):
    """A plain [k − 1] counts on the first axis: in a batch it takes a row, and with k larger than the vocabulary there
    is nothing at that position. Which index counts on the last axis, and how far may it go?"""
    return logits.masked_fill(logits < logits.sort(dim=-1, descending=True).values[k - 1], -INF)


@top_k.mistake
def last_row_of_topk(logits, k):
    """A plain [−1] took the last row of the batch, and its k scores cannot be compared with V others. What is the last
    one on the last axis?"""
    return logits.masked_fill(logits < logits.topk(min(k, logits.shape[-1])).values[-1], -INF)


@top_k.mistake
def last_row_of_topk_and_k_too_large(logits, k):
    """A plain [−1] takes the last row of a batch, and with k larger than the vocabulary `topk` has nothing to give.
    Which index counts on the last axis, and how large may k be?"""
    return logits.masked_fill(logits < logits.topk(k).values[-1], -INF)


@top_k.mistake
def sorted_along_the_batch(logits, k):
    """Scores of different rows were put in one order. Along which axis lies the vocabulary?"""
    ordered = logits.sort(dim=0, descending=True).values
    return logits.masked_fill(logits < ordered[min(k, logits.shape[0]) - 1], -INF)


@top_k.mistake
def topk_along_the_batch(logits, k):
    """`topk` looked for the k best rows of the batch. Along which axis lies the vocabulary?"""
    return logits.masked_fill(logits < logits.topk(k, dim=0).values[-1], -INF)


@top_k.mistake
def top_k_probabilities(logits, k):
    """These are probabilities. Which form do the other filters expect?"""
    return row_by_row(best)(logits, k).softmax(-1)


def nucleus(row, p, cross=True):
    """Add tokens, the most probable first, until p is reached. cross: keep the token that crosses p."""
    probs, tokens, total = row.softmax(-1), set(), 0.0
    for token in probs.argsort(descending=True, stable=True).tolist():
        if total >= p or (not cross and total + probs[token] > p):
            break
        tokens.add(token)
        total += probs[token].item()
    return keep(row, tokens)


def in_order(logits, p):
    """Scores, the largest first; tokens in this order; True at each position after p was reached."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probs = ordered.softmax(-1)
    return ordered, order, probs.cumsum(-1) - probs >= p


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
    shapes="... V -> ... V",
)


@top_p.mistake
@row_by_row
def crossing_token_removed(row, p):
    """The token that crosses p is missing; where the best one alone holds more than p, none is left. What must
    stay?"""
    return nucleus(row, p, cross=False)


@top_p.mistake
def crossing_token_removed_but_the_first_kept(logits, p):
    """The token that crosses p is missing, where it is not the first. The set should hold at least p: how much do the
    tokens hold that you keep?"""
    ordered, order, _ = in_order(logits, p)
    remove = ordered.softmax(-1).cumsum(-1) > p
    remove[..., 0] = False
    return logits.masked_fill(torch.zeros_like(remove).scatter(-1, order, remove), -INF)


@top_p.mistake
def scores_added_up(logits, p):
    """Scores were added up until p, and not probabilities. Which of the two add up to 1?"""
    ordered, order = logits.sort(dim=-1, descending=True)
    remove = ordered.cumsum(-1) - ordered >= p
    return logits.masked_fill(torch.zeros_like(remove).scatter(-1, order, remove), -INF)


@top_p.mistake
def added_up_along_the_batch(logits, p):
    """Tokens of different rows were sorted and added up together. Along which axis lies the vocabulary?"""
    ordered, order = logits.sort(dim=0, descending=True)
    remove = ordered.softmax(0).cumsum(0) - ordered.softmax(0) >= p
    return logits.masked_fill(torch.zeros_like(remove).scatter(0, order, remove), -INF)


@top_p.mistake
@row_by_row
def added_up_in_id_order(row, p):
    """It added up from the left, in the order of the ids. In which order must it be?"""
    probs = row.softmax(-1)
    return keep(row, set(((probs.cumsum(-1) - probs) < p).nonzero().flatten().tolist()))


@top_p.mistake
def crossing_token_removed_in_id_order(logits, p):
    """It added up from the left, in the order of the ids, and the token that crosses p is missing. In which order is
    the set the smallest?"""
    return logits.masked_fill(logits.softmax(-1).cumsum(-1) > p, -INF)


@top_p.mistake
def the_most_probable_removed(logits, p):
    """The tokens that make up the first p were removed, and the rest kept. On which side of p is the set?"""
    ordered, order, _ = in_order(logits, p)
    remove = ordered.softmax(-1).cumsum(-1) < p
    return logits.masked_fill(torch.zeros_like(remove).scatter(-1, order, remove), -INF)


@top_p.mistake
@row_by_row
def added_up_from_the_least_probable(row, p):
    """It began with the least probable. From which end is the set the smallest?"""
    probs, tokens, total = row.softmax(-1), set(), 0.0
    for token in probs.argsort().tolist():
        if total >= p:
            break
        tokens.add(token)
        total += probs[token].item()
    return keep(row, tokens)


@top_p.mistake
@row_by_row
def each_token_above_one_minus_p(row, p):
    """It kept each token with a probability above 1 − p by itself. What must reach p, each token or their sum?"""
    probs = row.softmax(-1)
    return keep(row, set((probs >= 1 - p).nonzero().flatten().tolist()))


@top_p.mistake
@row_by_row
def top_p_scores_the_others_zero(row, p):
    """Removed tokens have the score 0. What does softmax make of a score of 0?"""
    return nucleus(row, p).nan_to_num(neginf=0.0)


@top_p.mistake
@row_by_row
def one_more_than_the_nucleus(row, p):
    """One token more than needed is kept. Has p been reached before it?"""
    return best(row, int(nucleus(row, p).isfinite().sum()) + 1)


@top_p.mistake
def top_p_probabilities(logits, p):
    """The right set, but as probabilities. Which form do the other filters expect here?"""
    return row_by_row(nucleus)(logits, p).softmax(-1)


@top_p.mistake
@row_by_row
def share_of_the_vocabulary(row, p):
    """It keeps the share p of the vocabulary. Of what should p be a share?"""
    return best(row, max(1, round(p * len(row))))


@top_p.mistake
def mask_left_in_sorted_order(logits, p):
    """The right number of tokens is kept, but not the right ones: what was found in sorted order was used on the
    unsorted scores. Which token does its first position stand for?"""
    return logits.masked_fill(in_order(logits, p)[2], -INF)


@top_p.mistake
def scores_left_in_sorted_order(logits, p):
    """The right scores are kept, but from the best one down. Whose score is the first one of a row?"""
    ordered, _, remove = in_order(logits, p)
    return ordered.masked_fill(remove, -INF)


@top_p.mistake
def scores_gathered_instead_of_scattered(logits, p):
    """The scores went back to the wrong tokens. `order` says which token is at a position: does it also say at
    which position a token is?"""
    ordered, order, remove = in_order(logits, p)
    return ordered.masked_fill(remove, -INF).gather(-1, order)


@top_p.mistake
def mask_gathered_instead_of_scattered(logits, p):
    """The scores stand where they should, but what is removed went back to the wrong tokens. What does `order` hold,
    tokens or positions?"""
    _, order, remove = in_order(logits, p)
    return logits.masked_fill(remove.gather(-1, order), -INF)


def needed_in_all(logits, p):
    """The scores in order, and one count for all rows: how many tokens it takes to reach p, as one row would count."""
    ordered = logits.sort(dim=-1, descending=True).values
    return ordered, int((ordered.softmax(-1).cumsum(-1) < p).sum()) + 1


@top_p.mistake
def one_count_for_all_rows(logits, p):
    """The tokens that are needed were counted for all rows together, and no row has so many. How many numbers does a
    batch need?"""
    ordered, needed = needed_in_all(logits, p)
    return logits.masked_fill(logits < ordered[..., needed - 1, None], -INF)


@top_p.mistake
def one_count_for_all_rows_as_k(logits, p):
    """One count was made for all rows together, and more tokens were asked of each row than it has. Along which axis
    should the sum run?"""
    ordered, needed = needed_in_all(logits, p)
    return logits.masked_fill(logits < ordered[..., needed - 1 : needed], -INF)


@top_p.mistake
def one_count_for_all_rows_at_most_v(logits, p):
    """Each row keeps as many tokens as all rows need together. Does every row of a batch need the same number?"""
    ordered, needed = needed_in_all(logits, p)
    return logits.masked_fill(logits < ordered[..., min(needed, logits.shape[-1]) - 1, None], -INF)


@top_p.mistake
def one_count_for_all_rows_on_the_first_axis(logits, p):
    """One number was counted for all rows together, and then used as the number of a row. How many tokens stay in each
    row by itself, and on which axis do they lie?"""
    ordered, needed = needed_in_all(logits, p)
    return logits.masked_fill(logits < ordered[needed - 1], -INF)


@top_p.mistake
def one_count_of_probabilities_on_the_first_axis(logits, p):
    """The probabilities below the border were to go, but one count of all rows together chose a whole row as the
    border. What should the border be: one number for each row, or one row?"""
    _, needed = needed_in_all(logits, p)
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < probs.sort(dim=-1, descending=True).values[needed - 1], -INF)


@top_p.mistake
def each_token_must_reach_p(logits, p):
    """Each token had to reach p alone, and often none does. Whose probabilities are added up?"""
    return logits.masked_fill(logits.softmax(-1) < p, -INF)


def far_below(row, p):
    """The tokens whose probability is at least p times the largest, by their distance from the best score."""
    return keep(row, {token for token, value in enumerate(row.tolist()) if math.exp(value - row.max().item()) >= p})


min_p = Exercise(
    "min_p",
    "my_min_p(logits, p) → scores of the same shape",
    [
        {"logits": scores(8, seed=12), "p": 0.1},
        {"logits": scores(3, 7, seed=13), "p": 0.3},
        {"logits": scores(2, 2, 5, seed=14, spread=0.6), "p": 0.5},
        {"logits": TIED, "p": 1.0},
        {"logits": scores(4, 9, seed=15, spread=3.0), "p": 0.02},
    ],
    row_by_row(far_below),
    shapes="... V -> ... V",
)


@min_p.mistake
@row_by_row
def compared_with_p_itself(row, p):
    """Each token had to be as probable as p itself. Of which token's probability should p be a share?"""
    return keep(row, set((row.softmax(-1) >= p).nonzero().flatten().tolist()))


@min_p.mistake
def share_of_the_mean(logits, p):
    """The border is a share of the mean probability. Of which probability in the row should p be a share?"""
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < p * probs.mean(-1, keepdim=True), -INF)


@min_p.mistake
@row_by_row
def share_of_the_best_score(row, p):
    """The scores were compared, not the probabilities: a score may be negative. What is p a share of?"""
    return keep(row, set((row >= p * row.max()).nonzero().flatten().tolist()))


@min_p.mistake
def one_best_for_all_rows(logits, p):
    """All rows were compared with one probability, the largest of them all. Whose most probable token counts in a
    row?"""
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < p * probs.max(), -INF)


@min_p.mistake
def best_along_the_batch(logits, p):
    """Tokens were compared with the same token of other rows. Along which axis lies the vocabulary?"""
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < p * probs.amax(0, keepdim=True), -INF)


@min_p.mistake
def softmax_over_all_rows(logits, p):
    """The probabilities of all rows together add up to 1. How many distributions are there in a batch?"""
    probs = logits.softmax(0)
    return logits.masked_fill(probs < p * probs.amax(-1, keepdim=True), -INF)


@min_p.mistake
@row_by_row
def the_best_removed_too(row, p):
    """With p = 1 nothing is left. What should happen to a token that is just as probable as the border?"""
    probs = row.softmax(-1)
    return row.masked_fill(probs <= p * probs.max(), -INF)


@min_p.mistake
@row_by_row
def share_that_may_be_lost(row, p):
    """It is strict where p is small and mild where p is large. What should p = 0.02 remove, much or little?"""
    probs = row.softmax(-1)
    return row.masked_fill(probs < (1 - p) * probs.max(), -INF)


@min_p.mistake
@row_by_row
def the_probable_removed(row, p):
    """The improbable tokens were kept, and the others removed. On which side of the border is the best one?"""
    probs = row.softmax(-1)
    return row.masked_fill(probs >= p * probs.max(), -INF)


@min_p.mistake
@row_by_row
def min_p_scores_the_others_zero(row, p):
    """Removed tokens have the score 0, which softmax does not make 0. Which score does?"""
    return far_below(row, p).nan_to_num(neginf=0.0)


@min_p.mistake
def min_p_probabilities(logits, p):
    """The right tokens, but as probabilities. Which form does the next filter expect?"""
    return row_by_row(far_below)(logits, p).softmax(-1)


@min_p.mistake
def min_p_probabilities_not_shared_out(logits, p):
    """Probabilities came out, with 0 for the removed tokens, and they no longer add up to 1. Which form do the other
    filters expect?"""
    probs = logits.softmax(-1)
    return torch.where(probs < p * probs.amax(-1, keepdim=True), 0.0, probs)


@min_p.mistake
def keepdim_missing(logits, p):
    """The largest probabilities have one axis less than the scores, so rows were compared with others' or not at all.
    What does `keepdim` keep?"""
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < p * probs.amax(-1), -INF)
