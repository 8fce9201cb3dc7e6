"""Exercises of lesson 09: is a difference more than chance, and how many steps fit into a time."""

import math
import statistics

from .ladder import Exercise


def of_means(base, other):
    return math.fsum(other) / len(other) - math.fsum(base) / len(base)


def judged(difference, error, border):
    """(t, whether it is beyond the border), from a difference of two lists and its standard error."""
    t = difference / error
    return t, abs(t) > border


def error_of(base, other, variance=statistics.variance):
    """The standard error of the difference of two means."""
    return math.sqrt(variance(base) / len(base) + variance(other) / len(other))


def welch_t(base, other):
    return of_means(base, other) / error_of(base, other)


verdict = Exercise(
    "verdict",
    "my_verdict(base, other, border) → (t, True or False)",
    [
        {"base": [8.0, 6.5, 12.0], "other": [30.0, 29.0, 33.0], "border": 3.2},
        {"base": [8.0, 6.5, 12.0], "other": [6.0, 9.5, 5.0], "border": 2.9},
        {"base": [30.0, 31.0, 31.5, 29.5], "other": [8.0, 6.5, 12.0], "border": 3.6},  # better, and beyond the border
        {"base": [2.0, 2.4, 2.1], "other": [3.2, 3.1, 3.5, 2.9, 3.0], "border": 2.7},
        {"base": [0.5, 0.75, 0.5], "other": [2.0, 1.25, 1.25], "border": 3.9},
        {"base": [4.0, 5.0, 4.5, 4.8], "other": [6.0, 6.5], "border": 3.0},
        {"base": [1.0, 2.0, 3.0], "other": [2.5, 5.0, 6.0], "border": 3.1},
        {"base": [0.4, 0.1, 0.3], "other": [0.9, 1.1, 1.0, 0.8], "border": 3.1},  # a difference below the border, t not
    ],
    lambda base, other, border: judged(of_means(base, other), error_of(base, other), border),
)


@verdict.mistake
def best_seeds_compared(base, other, border):
    """The luckiest seed of one was compared with the luckiest of the other. Would another throw of the dice say the
    same?"""
    return judged(min(other) - min(base), error_of(base, other), border)


@verdict.mistake
def first_seeds_compared(base, other, border):
    """One seed of each was compared, and the others were not looked at. What were they trained for?"""
    return judged(other[0] - base[0], error_of(base, other), border)


@verdict.mistake
def medians_compared(base, other, border):
    """The middle seed of each was taken. How do the other seeds enter a mean?"""
    return judged(statistics.median(other) - statistics.median(base), error_of(base, other), border)


@verdict.mistake
def sums_compared(base, other, border):
    """Sums were compared, so five seeds look worse than three. What makes them comparable?"""
    return judged(math.fsum(other) - math.fsum(base), error_of(base, other), border)


@verdict.mistake
def sums_divided_by_three(base, other, border):
    """Both sums were divided by 3. Has every list three seeds?"""
    return judged((math.fsum(other) - math.fsum(base)) / 3, error_of(base, other), border)


@verdict.mistake
def difference_without_an_error(base, other, border):
    """This t is the difference itself. By what is it divided?"""
    return judged(of_means(base, other), 1.0, border)


@verdict.mistake
def scatter_of_the_base_alone(base, other, border):
    """Only the seeds of the first list enter the error. Do those of the second one not vary?"""
    return judged(of_means(base, other), statistics.stdev(base) / math.sqrt(len(base)), border)


@verdict.mistake
def scatter_of_the_other_alone(base, other, border):
    """Only the seeds of the second list enter the error. Do those of the first one not vary?"""
    return judged(of_means(base, other), statistics.stdev(other) / math.sqrt(len(other)), border)


@verdict.mistake
def spread_of_the_base(base, other, border):
    """The error is the highest minus the lowest of the first list. That grows with more seeds: should the error?"""
    return judged(of_means(base, other), max(base) - min(base), border)


@verdict.mistake
def deviation_of_the_base(base, other, border):
    """The error is the standard deviation of the first list: how far one of its runs lies from the mean. How far does
    a difference of two means lie from the true one?"""
    return judged(of_means(base, other), statistics.stdev(base), border)


@verdict.mistake
def deviation_of_single_runs(base, other, border):
    """The variances were added, but not divided by the number of seeds. This is the error of two single runs. What do
    more seeds do to the error of a mean?"""
    return judged(of_means(base, other), math.sqrt(statistics.variance(base) + statistics.variance(other)), border)


@verdict.mistake
def population_variance(base, other, border):
    """The squared distances of n seeds were divided by n. Three seeds then vary too little: what stands in the formula
    of the variance?"""
    return judged(of_means(base, other), error_of(base, other, statistics.pvariance), border)


@verdict.mistake
def variance_of_the_difference(base, other, border):
    """The error is a square: a variance. In which unit is the difference of two means?"""
    return judged(of_means(base, other), error_of(base, other) ** 2, border)


@verdict.mistake
def deviations_for_variances(base, other, border):
    """Standard deviations stand where the formula has their squares."""
    return judged(of_means(base, other), error_of(base, other, statistics.stdev), border)


@verdict.mistake
def errors_added(base, other, border):
    """The two errors were added as they are. What does the formula add, and when does it take the root?"""
    both = (statistics.stdev(values) / math.sqrt(len(values)) for values in (base, other))
    return judged(of_means(base, other), sum(both), border)


@verdict.mistake
def pooled_variance(base, other, border):
    """Both lists were given one common variance. What if one setting varies more than the other?"""
    freedom = len(base) + len(other) - 2
    common = (len(base) - 1) * statistics.variance(base) + (len(other) - 1) * statistics.variance(other)
    return judged(of_means(base, other), error_of(base, other, lambda values: common / freedom), border)


@verdict.mistake
def variance_of_both_lists_together(base, other, border):
    """The variance is that of both lists in one, so the effect itself is in it. Whose seeds differ by chance only?"""
    return judged(of_means(base, other), error_of(base, other, lambda _: statistics.variance(base + other)), border)


@verdict.mistake
def difference_relative_to_the_mean(base, other, border):
    """The difference is a share of the first mean. Is a large share rare, if seeds vary as much?"""
    return judged(of_means(base, other), math.fsum(base) / len(base), border)


@verdict.mistake
def base_minus_other(base, other, border):
    """The sign is turned round. Which of the two means is subtracted from which?"""
    return judged(of_means(other, base), error_of(base, other), border)


@verdict.mistake
def sign_dropped(base, other, border):
    """t has lost its sign, and the reader cannot see which setting has the higher mean. Where does only the size
    count?"""
    return judged(abs(of_means(base, other)), error_of(base, other), border)


@verdict.mistake
def only_harm_counts(base, other, border):
    """t is right, but a setting that became better never passes the border. Does only harm count?"""
    return welch_t(base, other), welch_t(base, other) > border


@verdict.mistake
def difference_against_the_border(base, other, border):
    """t is right, but the verdict compares the difference with the border. In which unit is the border?"""
    return welch_t(base, other), abs(of_means(base, other)) > border


@verdict.mistake
def border_of_two(base, other, border):
    """t is right, but the verdict takes 2 for the border. Which border was handed over?"""
    return welch_t(base, other), abs(welch_t(base, other)) > 2


@verdict.mistake
def lists_must_not_overlap(base, other, border):
    """t is right, but the verdict asks only whether the two lists overlap. What does the rule compare?"""
    return welch_t(base, other), min(other) > max(base) or min(base) > max(other)


@verdict.mistake
def verdict_reversed(base, other, border):
    """t is right and the answer is turned round. Does True stand for a difference or for chance?"""
    return welch_t(base, other), abs(welch_t(base, other)) <= border


equal_time_steps = Exercise(
    "equal_time_steps",
    "my_equal_time_steps(seconds, tokens_per_s, batch, block) → a whole number of steps",
    [
        {"seconds": 60.0, "tokens_per_s": 9000.0, "batch": 8, "block": 200},
        {"seconds": 7.5, "tokens_per_s": 3100.0, "batch": 4, "block": 128},
        {"seconds": 10.0, "tokens_per_s": 700.0, "batch": 2, "block": 64},
    ],
    lambda seconds, tokens_per_s, batch, block: int(seconds * tokens_per_s) // (batch * block),
)


@equal_time_steps.mistake
def tokens_instead_of_steps(seconds, tokens_per_s, batch, block):
    """These are tokens. How many of them does one step read?"""
    return int(seconds * tokens_per_s)


@equal_time_steps.mistake
def one_row_per_step(seconds, tokens_per_s, batch, block):
    """As if a step read one row. What else does it take side by side?"""
    return int(seconds * tokens_per_s // block)


@equal_time_steps.mistake
def one_token_per_row(seconds, tokens_per_s, batch, block):
    """As if a row were one token. What else is in a row?"""
    return int(seconds * tokens_per_s // batch)


@equal_time_steps.mistake
def batch_and_block_added(seconds, tokens_per_s, batch, block):
    """As if a step read `batch + block` tokens. Draw the batch as a table: how many cells has it?"""
    return int(seconds * tokens_per_s // (batch + block))


@equal_time_steps.mistake
def multiplied_by_the_block(seconds, tokens_per_s, batch, block):
    """It was divided by `batch` and then multiplied by `block`: Python reads / and * from left to right. How many
    tokens does one step read?"""
    return int(seconds * tokens_per_s / batch * block)


@equal_time_steps.mistake
def fraction_of_a_step(seconds, tokens_per_s, batch, block):
    """Nobody can take a part of a step."""
    return seconds * tokens_per_s / (batch * block)


@equal_time_steps.mistake
def rounded_up(seconds, tokens_per_s, batch, block):
    """The last step would end after the time is up. Which whole number still fits?"""
    return math.ceil(seconds * tokens_per_s / (batch * block))


@equal_time_steps.mistake
def rounded_to_the_nearest(seconds, tokens_per_s, batch, block):
    """Now and then there is a step too many, which would end when the time is up. Does the nearest whole number
    always fit?"""
    return round(seconds * tokens_per_s / (batch * block))


@equal_time_steps.mistake
def divided_by_the_speed(seconds, tokens_per_s, batch, block):
    """A faster machine comes out with fewer steps. Where does the speed belong?"""
    return int(1e6 * seconds / tokens_per_s // (batch * block))


@equal_time_steps.mistake
def steps_of_one_second(seconds, tokens_per_s, batch, block):
    """These are the steps of a single second. For how long is it trained?"""
    return int(tokens_per_s // (batch * block))
