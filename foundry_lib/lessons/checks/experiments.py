"""Exercises of lesson 09: is a difference more than chance, a fair unit, and the steps that fit into a time."""

import math
import statistics

from .ladder import Exercise
from .tokens import LN2_ROUNDED, ln_2_in_full


def spread(values):
    """Highest minus lowest, by sorting."""
    ordered = sorted(values)
    return ordered[-1] - ordered[0]


def judged(difference, noise):
    """(spreads apart, whether more than 3), from a difference of two lists and a measure of noise."""
    spreads = difference / noise
    return spreads, spreads > 3


def of_means(base, other):
    return abs(math.fsum(other) / len(other) - math.fsum(base) / len(base))


def spreads_apart(base, other):
    return of_means(base, other) / spread(base)


verdict = Exercise(
    "verdict",
    "my_verdict(base, other) → (how many spreads apart, True or False)",
    [
        {"base": [8.0, 6.5, 12.0], "other": [30.0, 29.0, 33.0]},
        {"base": [8.0, 6.5, 12.0], "other": [6.0, 9.5, 5.0]},
        {"base": [30.0, 31.0, 31.5, 29.5], "other": [8.0, 6.5, 12.0]},
        {"base": [2.0, 2.4, 2.1], "other": [3.2, 3.1, 3.5, 2.9, 3.0]},
        {"base": [0.5, 0.75, 0.5], "other": [2.0, 1.25, 1.25]},
        {"base": [1.0, 1.5, 1.25], "other": [2.75, 2.75, 2.75]},  # exactly three spreads
        {"base": [4.0, 5.0, 4.5, 4.8], "other": [6.0, 6.5]},  # the ranges of the two lists do not overlap
        {"base": [1.0, 2.0, 3.0], "other": [2.5, 5.0, 6.0]},
    ],
    lambda base, other: judged(of_means(base, other), spread(base)),
)


@verdict.mistake
def best_seeds_compared(base, other):
    """The luckiest seed of one was compared with the luckiest of the other. Would another throw of the dice say the
    same?"""
    return judged(abs(min(other) - min(base)), spread(base))


@verdict.mistake
def first_seeds_compared(base, other):
    """One seed of each was compared, and the others were not looked at. What were they trained for?"""
    return judged(abs(other[0] - base[0]), spread(base))


@verdict.mistake
def noise_of_the_new_row(base, other):
    """The noise was read off the new row. Which row tells how far seeds scatter when nothing has been changed?"""
    return judged(of_means(base, other), spread(other) or 1e-9)


@verdict.mistake
def larger_of_both_spreads(base, other):
    """The larger of both spreads was taken. Which row tells how far seeds scatter when nothing has been changed, and
    is the border to be moved by the other?"""
    return judged(of_means(base, other), max(spread(base), spread(other)))


@verdict.mistake
def sums_divided_by_three(base, other):
    """Both sums were divided by 3. Has every row three seeds?"""
    return judged(abs(math.fsum(other) - math.fsum(base)) / 3, spread(base))


@verdict.mistake
def spread_over_both_rows(base, other):
    """The spread reaches over both rows, so the effect itself is in it. Whose seeds differ by chance alone?"""
    return judged(of_means(base, other), spread(base + other))


@verdict.mistake
def population_standard_deviation(base, other):
    """That is the standard deviation with n below the line, which is no spread from end to end."""
    return judged(of_means(base, other), statistics.pstdev(base))


@verdict.mistake
def squared_spread(base, other):
    """That is the variance, a square. In which unit is the difference of two means?"""
    return judged(of_means(base, other), statistics.pvariance(base))


@verdict.mistake
def sample_standard_deviation(base, other):
    """That is the standard deviation with n − 1 below the line. Is it what this rule calls spread?"""
    return judged(of_means(base, other), statistics.stdev(base))


@verdict.mistake
def standard_error(base, other):
    """That is the standard error of a mean, which shrinks with every seed. What does the rule measure with?"""
    return judged(of_means(base, other), statistics.stdev(base) / math.sqrt(len(base)))


@verdict.mistake
def lower_mean_counts_negative(base, other):
    """A row that became better gives a number below zero, and can never pass the border. Does only harm count?"""
    return judged(math.fsum(other) / len(other) - math.fsum(base) / len(base), spread(base))


@verdict.mistake
def higher_mean_counts_negative(base, other):
    """A row that became worse gives a number below zero. Which way round should not matter?"""
    return judged(math.fsum(base) / len(base) - math.fsum(other) / len(other), spread(base))


@verdict.mistake
def medians_compared(base, other):
    """The middle seed of each was taken. How do the other seeds enter a mean?"""
    return judged(abs(statistics.median(other) - statistics.median(base)), spread(base))


@verdict.mistake
def sums_compared(base, other):
    """Sums were compared, so five seeds look worse than three. What makes them comparable?"""
    return judged(abs(math.fsum(other) - math.fsum(base)), spread(base))


@verdict.mistake
def difference_relative_to_the_mean(base, other):
    """The difference is in shares of the base's mean. Is a large share rare, if seeds scatter as much?"""
    return judged(of_means(base, other), math.fsum(base) / len(base))


@verdict.mistake
def one_spread_is_enough(base, other):
    """The number is right, but one spread is taken for enough. How many are asked for?"""
    return spreads_apart(base, other), spreads_apart(base, other) > 1


@verdict.mistake
def two_spreads_are_enough(base, other):
    """The number is right, but two spreads are taken for enough. How many are asked for?"""
    return spreads_apart(base, other), spreads_apart(base, other) > 2


@verdict.mistake
def rows_must_not_overlap(base, other):
    """The number is right, but the verdict asks only whether the two rows touch. What does the rule compare?"""
    return spreads_apart(base, other), min(other) > max(base) or min(base) > max(other)


@verdict.mistake
def exactly_three_spreads_pass(base, other):
    """Right but where the means are three spreads apart to the digit. Is that more than three?"""
    return spreads_apart(base, other), spreads_apart(base, other) >= 3


@verdict.mistake
def verdict_reversed(base, other):
    """The number is right and the answer is turned round. Does True stand for an effect or for chance?"""
    return spreads_apart(base, other), spreads_apart(base, other) <= 3


def in_bits(nats_per_token, bytes_per_token):
    return math.log2(math.exp(nats_per_token)) / bytes_per_token


bits_per_byte = Exercise(
    "bits_per_byte",
    "my_bits_per_byte(nats_per_token, bytes_per_token) → a number",
    [
        {"nats_per_token": 3.0, "bytes_per_token": 2.5},
        {"nats_per_token": 0.5, "bytes_per_token": 4.0},
        {"nats_per_token": 6.9, "bytes_per_token": 1.0},
    ],
    in_bits,
    {LN2_ROUNDED: ln_2_in_full(in_bits)},
)


@bits_per_byte.mistake
def nats_per_byte(nats_per_token, bytes_per_token):
    """The number is still in nats. Which size has a bit, seen from there?"""
    return nats_per_token / bytes_per_token


@bits_per_byte.mistake
def multiplied_by_ln_2(nats_per_token, bytes_per_token):
    """Every bit was made smaller where it should become more of them: one nat is 1.44 bits."""
    return nats_per_token * math.log(2) / bytes_per_token


@bits_per_byte.mistake
def multiplied_by_the_bytes(nats_per_token, bytes_per_token):
    """A token of many bytes comes out as costing more for each byte. Is the cost shared out or heaped up?"""
    return nats_per_token / math.log(2) * bytes_per_token


@bits_per_byte.mistake
def bits_per_token(nats_per_token, bytes_per_token):
    """These are bits, but for a whole token. Among how many bytes are they shared?"""
    return nats_per_token / math.log(2)


@bits_per_byte.mistake
def bytes_per_bit(nats_per_token, bytes_per_token):
    """It is upside down: bytes for each bit. Should a better model have more or less?"""
    return bytes_per_token * math.log(2) / nats_per_token


@bits_per_byte.mistake
def logarithm_to_base_10(nats_per_token, bytes_per_token):
    """The logarithm to base 10 went in. How many values has a bit?"""
    return nats_per_token / math.log(10) / bytes_per_token


@bits_per_byte.mistake
def perplexity_per_byte(nats_per_token, bytes_per_token):
    """This is a perplexity for each byte. Where did an exponential come from?"""
    return math.exp(nats_per_token / bytes_per_token)


@bits_per_byte.mistake
def perplexity_in_place_of_the_loss(nats_per_token, bytes_per_token):
    """The exponential of the loss was taken, which is the perplexity. What is a loss in nats already?"""
    return math.exp(nats_per_token) / math.log(2) / bytes_per_token


@bits_per_byte.mistake
def logarithm_of_the_loss(nats_per_token, bytes_per_token):
    """The logarithm was taken once more of what is a logarithm already. What is a loss in nats?"""
    return math.log2(nats_per_token) / bytes_per_token


@bits_per_byte.mistake
def logarithm_of_the_quotient(nats_per_token, bytes_per_token):
    """The logarithm of nats per byte was taken. What is a loss in nats already?"""
    return math.log2(nats_per_token / bytes_per_token)


@bits_per_byte.mistake
def ln_2_to_three_digits(nats_per_token, bytes_per_token):
    """Three digits of ln 2 are too few to count bytes with."""
    return nats_per_token / 0.693 / bytes_per_token


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
