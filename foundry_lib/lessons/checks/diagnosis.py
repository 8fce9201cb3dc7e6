"""Exercises of lesson 10: is a loss below the floor by chance, and which checkpoint of an overfitting run to keep."""

import math
import statistics

from scipy import stats

from .ladder import Exercise

LEAK_CASES = [
    {"losses": [0.40, 0.47, 0.52, 0.45], "floor": 0.475},
    {"losses": [0.30, 0.33, 0.28, 0.35, 0.31, 0.30, 0.36], "floor": 0.40},
    {"losses": [0.60, 0.50, 0.55], "floor": 0.475},
    {"losses": [1.1, 0.9, 1.0, 0.7, 1.2, 0.8], "floor": 1.0},
]


def leak_chance(losses, floor):
    """The reference: scipy's one-sided t-test of one sample."""
    return float(stats.ttest_1samp(losses, floor, alternative="less").pvalue)


leak_p = Exercise("leak_p", "my_leak_p(losses, floor) → p, a number", LEAK_CASES, leak_chance)


def t_of(losses, floor, deviation=statistics.stdev, root=math.sqrt):
    return (statistics.fmean(losses) - floor) / (deviation(losses) / root(len(losses)))


def p_below(t, losses):
    return float(stats.t.cdf(t, len(losses) - 1))


@leak_p.mistake
def t_instead_of_p(losses, floor):
    """It is t: how many standard errors the mean is away from the floor. How probable is a t as low as this?"""
    return t_of(losses, floor)


@leak_p.mistake
def chance_of_a_higher_mean(losses, floor):
    """It is the chance of a mean that is higher, as if a leak raised the loss. On which side of the floor is a leak,
    and what is subtracted from what?"""
    return 1 - p_below(t_of(losses, floor), losses)


@leak_p.mistake
def both_sides_counted(losses, floor):
    """It is twice too large where the mean is below the floor: both sides were counted. On which side is a leak?"""
    return 2 * p_below(-abs(t_of(losses, floor)), losses)


@leak_p.mistake
def standard_deviation_for_standard_error(losses, floor):
    """More tales would change nothing: the difference was divided by the standard deviation of one tale. How far does
    a mean of n tales vary?"""
    return p_below(t_of(losses, floor, root=lambda n: 1.0), losses)


@leak_p.mistake
def divided_by_n(losses, floor):
    """The standard error is too small: the deviation was divided by n. How does it shrink as n grows?"""
    return p_below(t_of(losses, floor, root=float), losses)


@leak_p.mistake
def deviation_divided_by_n(losses, floor):
    """The standard deviation has n below the line. The mean was taken from the same tales: what is below the line
    then?"""
    return p_below(t_of(losses, floor, statistics.pstdev), losses)


@leak_p.mistake
def variance_for_deviation(losses, floor):
    """The variance was used, a square. In which unit is a standard error?"""
    return p_below(t_of(losses, floor, statistics.variance), losses)


@leak_p.mistake
def variance_divided_by_n(losses, floor):
    """That is the variance of the mean, a square. In which unit is a standard error?"""
    return p_below(t_of(losses, floor, statistics.variance, float), losses)


@leak_p.mistake
def normal_instead_of_t(losses, floor):
    """It is the chance of a normal distribution, which is too small for few tales. Which distribution counts the
    tales?"""
    return float(stats.norm.cdf(t_of(losses, floor)))


@leak_p.mistake
def one_degree_of_freedom_too_many(losses, floor):
    """It is Student's t with n degrees of freedom. How many are left after the mean was computed from the same
    tales?"""
    return float(stats.t.cdf(t_of(losses, floor), len(losses)))


@leak_p.mistake
def density_instead_of_chance(losses, floor):
    """It is the height of the curve at t. Which area below the curve is the chance?"""
    return float(stats.t.pdf(t_of(losses, floor), len(losses) - 1))


FALLS_AND_RISES = [5.0, 4.5, 4.6, 4.0, 4.1, 4.2, 3.5, 3.6, 3.7, 3.8, 3.0]
KEEP_CASES = [
    {"val": FALLS_AND_RISES, "patience": 2},  # stopped before the 3.5
    {"val": FALLS_AND_RISES, "patience": 3},  # stopped before the 3.0
    {"val": [9.0, 7.0, 6.0, 5.0], "patience": 1},  # it never stops
    {"val": [4.0, 3.0, 3.0, 3.0, 2.0], "patience": 2},  # an equal loss is not lower
    {"val": [2.0, 3.0, 2.5, 2.2, 1.0], "patience": 3},  # falling, but not below the lowest
]


def lowest_in_time(val, patience):
    """The reference: the lowest loss of the longest beginning that early stopping lets pass."""
    best = 0
    while True:
        later = [i for i in range(best + 1, min(len(val), best + 1 + patience)) if val[i] < val[best]]
        if not later:
            return best
        best = later[0]


early_stop = Exercise("early_stop", "my_early_stop(val, patience) → an index of val", KEEP_CASES, lowest_in_time)


def stopped(val, patience, waits, kept):
    """Early stopping with one step of it wrong. waits(val, i, best): whether evaluation i is another one in vain.
    kept(best, i): the index that is returned when it stops at i."""
    best = bad = 0
    for i in range(1, len(val)):
        if val[i] < val[best]:
            best = i
        bad = bad + 1 if waits(val, i, best) else 0
        if bad == patience:
            return kept(best, i)
    return kept(best, len(val) - 1)


def in_vain(val, i, best):
    return i != best


@early_stop.mistake
def never_stops(val, patience):
    """It is the lowest loss of the whole list. Would a training with this patience have come so far?"""
    return val.index(min(val))


@early_stop.mistake
def last_evaluation_kept(val, patience):
    """It is the evaluation at which the training stops. Which of the checkpoints had the lowest loss?"""
    return stopped(val, patience, in_vain, lambda best, i: i)


@early_stop.mistake
def loss_instead_of_index(val, patience):
    """It is a loss. Which evaluation had it?"""
    return val[lowest_in_time(val, patience)]


@early_stop.mistake
def compared_with_the_one_before(val, patience):
    """Each loss was compared with the one before it. Is 3.6 after 3.7 progress, if 3.5 was reached before?"""
    return stopped(val, patience, lambda val, i, best: val[i] >= val[i - 1], lambda best, i: best)


@early_stop.mistake
def stops_one_too_early(val, patience):
    """It stopped one evaluation too early. How many in a row must fail?"""
    return stopped(val, max(1, patience - 1), in_vain, lambda best, i: best)


@early_stop.mistake
def stops_one_too_late(val, patience):
    """It stopped one evaluation too late. How many in a row must fail?"""
    return stopped(val, patience + 1, in_vain, lambda best, i: best)


@early_stop.mistake
def failures_never_forgotten(val, patience):
    """All evaluations without progress were counted, not those in a row. What does a new lowest loss change?"""
    best = bad = 0
    for i in range(1, len(val)):
        if val[i] < val[best]:
            best = i
        else:
            bad += 1
        if bad == patience:
            break
    return best


@early_stop.mistake
def equal_counts_as_progress(val, patience):
    """A loss that only equals the lowest one was taken for progress. Is it lower?"""
    best = bad = 0
    for i in range(1, len(val)):
        best, bad = (i, 0) if val[i] <= val[best] else (best, bad + 1)
        if bad == patience:
            break
    return best


@early_stop.mistake
def first_rise_stops(val, patience):
    """It stopped at the first loss that was not lower. What is `patience` for?"""
    return stopped(val, 1, in_vain, lambda best, i: best)
