"""Exercises of lesson 09: is a difference more than chance, a fair unit, and the steps that fit into a time."""

import math
import statistics

from .ladder import Exercise
from .tokens import LN2_ROUNDED, ln_2_in_full


def spread(values):
    """Highest less lowest, by sorting."""
    ordered = sorted(values)
    return ordered[-1] - ordered[0]


def apart(difference, noise):
    """A wrong or right verdict from how it takes the difference and the noise of two lists."""

    def judged(base, other):
        spreads = difference(base, other) / noise(base, other)
        return spreads, spreads > 3

    return judged


def of_means(base, other):
    return abs(math.fsum(other) / len(other) - math.fsum(base) / len(base))


def of_base(base, other):
    return spread(base)


def with_border(holds):
    """Right number of spreads, another verdict."""

    def judged(base, other):
        spreads = of_means(base, other) / spread(base)
        return spreads, holds(spreads, base, other)

    return judged


verdict = Exercise(
    "verdict",
    "my_verdict(base, other) → (how many spreads apart, True or False)",
    [
        {"base": [8.0, 6.5, 12.0], "other": [30.0, 29.0, 33.0]},
        {"base": [8.0, 6.5, 12.0], "other": [6.0, 9.5, 5.0]},
        {"base": [30.0, 31.0, 31.5, 29.5], "other": [8.0, 6.5, 12.0]},
        {"base": [2.0, 2.4, 2.1], "other": [3.2, 3.1, 3.5, 2.9, 3.0]},
        {"base": [0.5, 0.75, 0.5], "other": [2.0, 1.25, 1.25]},
        {"base": [1.0, 1.5, 1.25], "other": [2.75, 2.75, 2.75]},  # three to the digit
        {"base": [4.0, 5.0, 4.5, 4.8], "other": [6.0, 6.5]},  # no seed of one reaches the other
        {"base": [1.0, 2.0, 3.0], "other": [2.5, 5.0, 6.0]},
    ],
    apart(of_means, of_base),
    {
        "The luckiest seed of one was compared with the luckiest of the other. Would another throw of the dice say the "
        "same?": apart(lambda base, other: abs(min(other) - min(base)), of_base),
        "One seed of each was compared, and the others were not looked at. What were they trained for?": apart(
            lambda base, other: abs(other[0] - base[0]), of_base
        ),
        "The noise was read off the new row. Which row tells how far seeds scatter when nothing has been changed?": (
            apart(of_means, lambda base, other: spread(other) or 1e-9)
        ),
        "The larger of both spreads was taken. Which row tells how far seeds scatter when nothing has been changed, "
        "and is the border to be moved by the other?": apart(
            of_means, lambda base, other: max(spread(base), spread(other))
        ),
        "Both sums were divided by 3. Has every row three seeds?": apart(
            lambda base, other: abs(math.fsum(other) - math.fsum(base)) / 3, of_base
        ),
        "The spread reaches over both rows, so the effect itself is in it. Whose seeds differ by chance alone?": (
            apart(of_means, lambda base, other: spread(base + other))
        ),
        "That is the standard deviation with n below the line, which is no spread from end to end.": apart(
            of_means, lambda base, other: statistics.pstdev(base)
        ),
        "That is the standard deviation with n − 1 below the line. Is it what this rule calls spread?": apart(
            of_means, lambda base, other: statistics.stdev(base)
        ),
        "That is the standard error of a mean, which shrinks with every seed. What does the rule measure with?": apart(
            of_means, lambda base, other: statistics.stdev(base) / math.sqrt(len(base))
        ),
        "A row that became better gives a number below zero, and can never pass the border. Does only harm count?": (
            apart(lambda base, other: math.fsum(other) / len(other) - math.fsum(base) / len(base), of_base)
        ),
        "A row that became worse gives a number below zero. Which way round should not matter?": apart(
            lambda base, other: math.fsum(base) / len(base) - math.fsum(other) / len(other), of_base
        ),
        "The middle seed of each was taken. How do the other seeds enter a mean?": apart(
            lambda base, other: abs(statistics.median(other) - statistics.median(base)), of_base
        ),
        "Sums were compared, so five seeds look worse than three. What makes them comparable?": apart(
            lambda base, other: abs(math.fsum(other) - math.fsum(base)), of_base
        ),
        "The difference is in shares of the base's mean. Is a large share rare, if seeds scatter as much?": apart(
            of_means, lambda base, other: math.fsum(base) / len(base)
        ),
        "The number is right, but one spread is taken for enough. How many are asked for?": with_border(
            lambda spreads, base, other: spreads > 1
        ),
        "The number is right, but the verdict asks only whether the two rows touch. What does the rule compare?": (
            with_border(lambda s, base, other: min(other) > max(base) or min(base) > max(other))
        ),
        "Right but where the means are three spreads apart to the digit. Is that more than three?": with_border(
            lambda spreads, base, other: spreads >= 3
        ),
        "The number is right and the answer is turned round. Does True stand for an effect or for chance?": with_border(
            lambda spreads, base, other: spreads <= 3
        ),
    },
)


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
    {
        "The number is still in nats. Which size has a bit, seen from there?": lambda nats, size: nats / size,
        "Every bit was made smaller where it should become more of them: one nat is 1.44 bits.": lambda nats, size: (
            nats * math.log(2) / size
        ),
        "A token of many bytes comes out as costing more for each byte. Is the cost shared out or heaped up?": (
            lambda nats, size: nats / math.log(2) * size
        ),
        "These are bits, but for a whole token. Among how many bytes are they shared?": lambda nats, size: (
            nats / math.log(2)
        ),
        "It is upside down: bytes for each bit. Should a better model have more or less?": lambda nats, size: (
            size * math.log(2) / nats
        ),
        "The logarithm to base 10 went in. How many values has a bit?": lambda nats, size: nats / math.log(10) / size,
        "This is a perplexity for each byte. Where did an exponential come from?": lambda nats, size: math.exp(
            nats / size
        ),
        "The logarithm was taken once more of what is a logarithm already. What is a loss in nats?": (
            lambda nats, size: math.log2(nats) / size
        ),
        "Three digits of ln 2 are too few to count bytes with.": lambda nats, size: nats / 0.693 / size,
    },
    {LN2_ROUNDED: ln_2_in_full(in_bits)},
)


equal_time_steps = Exercise(
    "equal_time_steps",
    "my_equal_time_steps(seconds, tokens_per_s, batch, block) → a whole number of steps",
    [
        {"seconds": 60.0, "tokens_per_s": 9000.0, "batch": 8, "block": 200},
        {"seconds": 7.5, "tokens_per_s": 3100.0, "batch": 4, "block": 128},
        {"seconds": 10.0, "tokens_per_s": 700.0, "batch": 2, "block": 64},
    ],
    lambda seconds, tokens_per_s, batch, block: int(seconds * tokens_per_s) // (batch * block),
    {
        "These are tokens. How many of them does one step read?": lambda s, speed, batch, block: int(s * speed),
        "As if a step read one row. What else does it take side by side?": lambda s, speed, batch, block: int(
            s * speed // block
        ),
        "As if a row were one token. What else is in a row?": lambda s, speed, batch, block: int(s * speed // batch),
        "As if a step read `batch + block` tokens. Draw the batch as a table: how many cells has it?": (
            lambda s, speed, batch, block: int(s * speed // (batch + block))
        ),
        "Nobody can take a part of a step.": lambda s, speed, batch, block: s * speed / (batch * block),
        "The last step would end after the time is up. Which whole number still fits?": lambda s, speed, batch, block: (
            math.ceil(s * speed / (batch * block))
        ),
        "Now and then there is a step too many, which would end when the time is up. Does the nearest whole number "
        "always fit?": lambda s, speed, batch, block: round(s * speed / (batch * block)),
        "A faster machine comes out with fewer steps. Where does the speed belong?": lambda s, speed, batch, block: int(
            1e6 * s / speed // (batch * block)
        ),
        "These are the steps of a single second. For how long is it trained?": lambda s, speed, batch, block: int(
            speed // (batch * block)
        ),
    },
)
