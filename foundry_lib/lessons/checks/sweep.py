"""Exercise of lesson 07: a sweep over learning rates, each with several seeds, and the rate to choose."""

import math
import statistics

import torch

from .ladder import Exercise


def sweep_case(rates, losses):
    """A case from a table of losses: a row per rate, a column per seed. NaN is a training that diverged."""
    seeds = list(range(3, 3 + len(losses[0])))
    return {"train": lambda rate, seed: losses[rates.index(rate)][seeds.index(seed)], "rates": rates, "seeds": seeds}


NAN = math.nan
SWEEP_CASES = [
    sweep_case([1e-4, 1e-3, 1e-2, 1e-1], [[9.0, 8.5, 9.25], [5.0, 5.5, 5.25], [4.0, 4.5, 4.75], [7.0, 6.0, 6.5]]),
    sweep_case([1e-3, 4e-3, 1e-2], [[5.0, 5.25], [4.0, 4.5], [3.75, 5.5]]),  # the luckiest seed is not the best rate
    sweep_case([4e-3, 1e-3, 4e-2], [[4.0, 4.25, 4.5, 4.0], [5.0, 5.5, 5.0, 5.25], [2.0, NAN, 2.5, 3.0]]),
    sweep_case([1e1, 1e-2, 1e-3], [[NAN, 3.0], [4.5, 4.25], [4.75, 5.0]]),
    sweep_case([2e-4, 2e-3, 2e-2, 6e-2, 2e-1], [[8.0], [5.0], [6.0], [6.5], [NAN]]),
    sweep_case([1e-4, 1e-3, 1e-2], [[6.0, 6.0, 1.0], [4.5, 4.5, 4.5], [3.0, 5.5, 7.0]]),  # mean, median and best differ
]


def table_of(train, rates, seeds):
    return [[train(rate, seed) for seed in seeds] for rate in rates]


def chosen(rates, scores):
    """The rate with the lowest score; one whose score is NaN is never chosen."""
    return min((score, rate) for score, rate in zip(scores, rates, strict=True) if not math.isnan(score))[1]


def swept(train, rates, seeds):
    """The reference: a row of losses per rate, and the rate with the lowest mean."""
    losses = table_of(train, rates, seeds)
    return losses, chosen(rates, [math.fsum(row) / len(row) for row in losses])


def run_sweep(work, case):
    """The work's result as a table (R, S) in 64 bits, and the rate."""
    result = work(*case.values())
    if not isinstance(result, tuple) or len(result) != 2 or result[0] is None:
        return result
    losses, best = result
    try:
        table = torch.as_tensor(losses, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return result  # the ladder says what is wrong with its form
    return table, best


rate_sweep = Exercise(
    "rate_sweep",
    "my_sweep(train, rates, seeds) → (losses, the best rate)",
    SWEEP_CASES,
    swept,
    run=run_sweep,
    case_in_words=lambda case: f"rates {case['rates']}, seeds {case['seeds']}",
    value_name=lambda number, case: "losses" if number == 1 else "the best rate",
)


def choosing(choose):
    """A sweep with the right losses whose choice is wrong: choose(rates, losses)."""

    def work(train, rates, seeds):
        losses = table_of(train, rates, seeds)
        return losses, choose(rates, losses)

    work.__doc__, work.__name__ = choose.__doc__, choose.__name__
    return work


def without_nan(row):
    return [loss for loss in row if not math.isnan(loss)]


@rate_sweep.mistake
def one_seed_for_all(train, rates, seeds):
    """Every training of a rate used the same seed. What should differ between the columns?"""
    losses = [[train(rate, seeds[0])] * len(seeds) for rate in rates]
    return losses, chosen(rates, [row[0] for row in losses])


@rate_sweep.mistake
def last_seed_for_all(train, rates, seeds):
    """Every training of a rate used the last seed. What should differ between the columns?"""
    losses = [[train(rate, seeds[-1])] * len(seeds) for rate in rates]
    return losses, chosen(rates, [row[0] for row in losses])


@rate_sweep.mistake
@choosing
def luckiest_seed(rates, losses):
    """The losses are right, but the choice follows the one lowest loss. What do the other seeds of a rate count for?"""
    return chosen(rates, [min(without_nan(row), default=math.nan) for row in losses])


@rate_sweep.mistake
@choosing
def diverged_seeds_left_out(rates, losses):
    """The losses are right, but a rate was chosen that diverged with one of its seeds. Can a mean leave that out?"""
    return chosen(rates, [statistics.fmean(without_nan(row) or [math.nan]) for row in losses])


@rate_sweep.mistake
@choosing
def only_the_first_seed_chooses(rates, losses):
    """The losses are right, but only the first seed of each rate decides. How do the others enter?"""
    return chosen(rates, [row[0] for row in losses])


@rate_sweep.mistake
@choosing
def highest_mean(rates, losses):
    """The losses are right, but the rate has the highest mean. Is a high loss good?"""
    return chosen(rates, [-statistics.fmean(row) for row in losses])


@rate_sweep.mistake
@choosing
def lowest_rate(rates, losses):
    """The losses are right, but the choice is the lowest of the rates. Which list should be as low as possible?"""
    return min(rates)


@rate_sweep.mistake
@choosing
def median_decides(rates, losses):
    """The losses are right, but the middle seed of each rate decides. Which average does the task name?"""
    return chosen(rates, [math.nan if any(map(math.isnan, row)) else statistics.median(row) for row in losses])


@rate_sweep.mistake
@choosing
def index_of_the_rate(rates, losses):
    """The losses are right, but the choice is a position in the list of rates. Which rate is there?"""
    return rates.index(chosen(rates, [statistics.fmean(row) for row in losses]))


@rate_sweep.mistake
@choosing
def loss_of_the_best_rate(rates, losses):
    """The losses are right, but what came back as the best rate is a loss. Which rate has it?"""
    return min(mean for mean in map(statistics.fmean, losses) if not math.isnan(mean))


@rate_sweep.mistake
@choosing
def nan_is_compared(rates, losses):
    """The losses are right, but where a training diverged the choice is wrong. What does `min` do with a NaN, which is
    neither smaller nor larger than any number?"""
    means = [statistics.fmean(row) for row in losses]
    return rates[means.index(min(means))]
