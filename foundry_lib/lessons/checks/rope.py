"""Exercises of lesson 02: RoPE, real and complex, and its table of angles."""

import math

import torch

from .ladder import Exercise
from .norm import SQUEEZED, keeps_64_bits


def angles(head_dim, max_seq_len, theta, start=0):
    """(T, d/2) in 64 bits: one turn at a time, as the formula reads."""
    places = range(start, start + max_seq_len)
    speeds = [theta ** (-2 * i / head_dim) for i in range(head_dim // 2)]
    return torch.tensor([[place * speed for speed in speeds] for place in places], dtype=torch.float64)


def table_of(angle, dtype=torch.float32):
    return torch.stack((angle.cos(), angle.sin())).to(dtype)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


# ---- One tensor


def rotate_case(batch, heads, length, dim, start=0, theta=100.0, dtype=torch.float32):
    table = table_of(angles(dim, length, theta, start), dtype)
    return {"x": normal(batch, heads, length, dim, dtype=dtype), "table": table}


def turn(x, table):
    """The reference: a 2 × 2 matrix for each place and pair, multiplied out by einsum."""
    cos, sin = table
    matrices = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)  # (T, d/2, 2, 2)
    pairs = x.unflatten(-1, (2, x.shape[-1] // 2))
    return torch.einsum("tirc,bhtci->bhtri", matrices, pairs).flatten(-2)


def in_halves(pair):
    """A wrong rotate from pair(a, b, cos, sin) → two new halves."""
    return lambda x, table: torch.cat(pair(*x.chunk(2, dim=-1), *table), dim=-1)


def turn_neighbours(x, table):
    cos, sin = table
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


def overwritten(a, b, cos, sin):
    a = a * cos - b * sin
    return a, a * sin + b * cos


def mixed_columns(x, table):
    cos, sin = table.repeat_interleave(2, dim=-1)
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


def neighbours_to_halves(x, table):
    return turn_neighbours(x, table).unflatten(-1, (-1, 2)).transpose(-2, -1).flatten(-2)


def squeezed(x, table):
    return turn(x.float(), table.float()).type_as(x)


def pairs_stacked(x, table):
    return turn(x, table).unflatten(-1, (2, x.shape[-1] // 2)).transpose(-2, -1).flatten(-2)


ROTATE_MISTAKES = {
    "Every pair is turned by its angle, but backwards. In which of the two lines does the minus sign stand?": in_halves(
        lambda a, b, cos, sin: (a * cos + b * sin, b * cos - a * sin)
    ),
    "Neighbours were paired, channel 0 with channel 1. Which channel is channel 0's partner where x is cut in two "
    "halves?": turn_neighbours,
    "At place 0, where the angle is zero, x does not stay as it is: cosine and sine have changed places. Which of them "
    "is 1 there?": in_halves(lambda a, b, cos, sin: (a * sin - b * cos, a * cos + b * sin)),
    "The pairs grow or shrink, so this is no rotation: both products are added. Compare the signs with the formula.": (
        in_halves(lambda a, b, cos, sin: (a * cos + b * sin, a * sin + b * cos))
    ),
    "Both products are subtracted, in both lines, and lengths change. How often does the formula have a minus?": (
        in_halves(lambda a, b, cos, sin: (a * cos - b * sin, b * cos - a * sin))
    ),
    "The angle depends on the head and not on the place. Which axis of x is T?": lambda x, table: turn(
        x.transpose(1, 2), table[:, : x.shape[1]]
    ).transpose(1, 2),
    "The angle depends on the row of the batch. Along which axis of x do the rows of the table belong?": (
        lambda x, table: turn(x.transpose(0, 2), table[:, : x.shape[0]]).transpose(0, 2)
    ),
    "All pairs are turned by the angle of the first one. How many columns does the table have?": lambda x, table: turn(
        x, table[..., :1].expand_as(table)
    ),
    "All places are turned alike, by the first row of the table. Then what do they tell apart?": lambda x, table: turn(
        x, table[:, :1].expand_as(table)
    ),
    "The two new halves stand in each other's place. Which half of the result belongs to a?": in_halves(
        lambda a, b, cos, sin: (a * sin + b * cos, a * cos - b * sin)
    ),
    "The second half is made from the new a and no more from the old one. What did the first line overwrite?": (
        in_halves(overwritten)
    ),
    "The halves are paired, but each column of the table was used for two neighbouring channels. Which channels share "
    "an angle?": mixed_columns,
    "The numbers are right and their order is not: the result has the pairs side by side. In which order did they "
    "come in?": pairs_stacked,
    "Only the first half was turned. A turn moves both hands' coordinates: where has the second line gone?": in_halves(
        lambda a, b, cos, sin: (a * cos - b * sin, b + 0 * a)
    ),
    "Each channel is only scaled by its cosine. How does b get into a's new value?": in_halves(
        lambda a, b, cos, sin: (a * cos, b * cos)
    ),
    "Every second channel was read, and the result was written in halves. Does each pair come back to the places that "
    "it was read from?": neighbours_to_halves,
    "x came in 64 bits: how many has it where you multiply?": squeezed,
}


def keeps_lengths(work, case):
    return torch.allclose(work(case["x"], case["table"]).norm(dim=-1), case["x"].norm(dim=-1), rtol=1e-4)


rotate = Exercise(
    "rotate",
    "my_rotate(x, table) → x's shape",
    [
        rotate_case(2, 3, 5, 8),
        rotate_case(1, 4, 7, 6, theta=10000.0),
        rotate_case(3, 2, 9, 4, start=4),
        rotate_case(2, 1, 6, 12, start=100, theta=500.0, dtype=torch.float64),
    ],
    turn,
    ROTATE_MISTAKES,
    {
        "A vector came out with another length. What does a rotation leave as it is?": keeps_lengths,
        SQUEEZED: keeps_64_bits(turn),
    },
)


# ---- Queries and keys


def rotary_case(batch, heads, kv_heads, length, dim, start=0, dtype=torch.float32):
    table = table_of(angles(dim, length, 50.0, start), dtype)
    q, k = (normal(batch, h, length, dim, seed=h, dtype=dtype) for h in (heads, kv_heads))
    return {"xq": q, "xk": k, "freqs_cis": table}


def turn_both(xq, xk, freqs_cis):
    return turn(xq, freqs_cis), turn(xk, freqs_cis)


def backwards(table):
    return torch.stack((table[0], -table[1]))


ROTARY_MISTAKES = {
    "The keys come back as they went in. A distance needs how many turned ends?": lambda q, k, t: (turn(q, t), k + 0),
    "The queries come back as they went in, so a score would depend on the key's place alone. What is the first result "
    "for?": lambda q, k, t: (q + 0, turn(k, t)),
    "Queries turn one way and keys the other: a score then depends on m + n. What does one angle less another need?": (
        lambda q, k, t: (turn(q, backwards(t)), turn(k, t))
    ),
    "Keys turn against the queries, so that moving both words changes the score. Which call differs from the other?": (
        lambda q, k, t: (turn(q, t), turn(k, backwards(t)))
    ),
    "Both are turned backwards. Scores still see only the distance, but a model saved by anyone else reads wrongly. "
    "Where does a positive angle lead?": lambda q, k, t: turn_both(q, k, backwards(t)),
    "The queries pair their halves and the keys pair neighbours. Do channel 0 of q and of k still share a hand?": (
        lambda q, k, t: (turn(q, t), turn_neighbours(k, t))
    ),
    "The keys pair their halves, the queries do not. Which of the two does the table belong to?": lambda q, k, t: (
        turn_neighbours(q, t),
        turn(k, t),
    ),
    "Both results pair neighbours. That is a good rotation and not this library's: where is its convention written?": (
        lambda q, k, t: (turn_neighbours(q, t), turn_neighbours(k, t))
    ),
    "Keys come first in the result. In which order does attention unpack it?": lambda q, k, t: turn_both(k, q, t),
    "The keys have got as many heads as the queries. Is it the rotation's work to share them out?": lambda q, k, t: (
        turn_both(q, k.repeat_interleave(q.shape[1] // k.shape[1], dim=1), t)
    ),
    "The keys were turned twice. Then the distance is counted from where?": lambda q, k, t: (
        turn(q, t),
        turn(turn(k, t), t),
    ),
    "The keys' places run from the end to the beginning. Which row of the table belongs to the first key?": (
        lambda q, k, t: (turn(q, t), turn(k, t.flip(1)))
    ),
    "Queries and keys came in 64 bits: how many are left after your first line?": lambda q, k, t: (
        squeezed(q, t),
        squeezed(k, t),
    ),
}


def sees_only_distance(work, case):
    """Every score stays when all places move by 7."""
    xq, xk, length = case["xq"], case["xk"], case["xq"].shape[2]
    angle = angles(xq.shape[-1], length + 7, 50.0)

    def scores(start):
        q, k = work(xq, xk, table_of(angle[start : start + length], xq.dtype))
        return q[:, :1] @ k[:, :1].transpose(-2, -1)

    return torch.allclose(scores(0), scores(7), atol=1e-4)


rotary = Exercise(
    "rotary",
    "my_rotary(xq, xk, freqs_cis) → the turned xq and xk",
    [
        rotary_case(2, 4, 2, 5, 8),
        rotary_case(1, 6, 3, 7, 4, start=3),
        rotary_case(3, 2, 1, 9, 6),
        rotary_case(2, 3, 1, 4, 10, start=50, dtype=torch.float64),
    ],
    turn_both,
    ROTARY_MISTAKES,
    {
        "The same words 7 places later have other scores. What should a score see of two places?": sees_only_distance,
        SQUEEZED: keeps_64_bits(turn_both),
    },
)


# ---- The table


def reference_table(head_dim, max_seq_len, theta):
    return table_of(angles(head_dim, max_seq_len, theta))


def with_speeds(speed, start=0):
    """A wrong rope_table whose pair i turns at `speed(i, head_dim, theta)` radians a place; in 32 bits, as a learner's
    would be. The cases have small bases, so that the largest wrong angle still has a cosine that both can agree on.
    """

    def made(head_dim, max_seq_len, theta):
        speeds = torch.tensor([speed(i, head_dim, theta) for i in range(head_dim // 2)])
        return table_of(torch.outer(torch.arange(start, start + max_seq_len).float(), speeds))

    return made


def right_speed(i, head_dim, theta):
    return theta ** (-2 * i / head_dim)


TABLE_MISTAKES = {
    "The hands slow down half as fast as they should: pair i has i/d in its exponent. How many channels lie before "
    "pair i?": with_speeds(lambda i, d, theta: theta ** (-i / d)),
    "The hands slow down twice as fast as they should. Is the exponent's denominator d or the number of pairs?": (
        with_speeds(lambda i, d, theta: theta ** (-2 * i / (d // 2)))
    ),
    "Later pairs turn faster and faster: the speed is multiplied by theta where it should shrink. Which sign has the "
    "exponent?": with_speeds(lambda i, d, theta: theta ** (2 * i / d)),
    "All pairs turn at the speed of the first. Where does i enter?": with_speeds(lambda i, d, theta: 1.0),
    "The first pair is the slowest and the last the fastest. In which order do the exponents run?": with_speeds(
        lambda i, d, theta: right_speed(d // 2 - 1 - i, d, theta)
    ),
    "The slowest hand's speed is 1/theta to the last digit: the exponents run up to 1. Does 2i/d get there, with i "
    "below d/2?": with_speeds(lambda i, d, theta: theta ** (-i / max(1, d // 2 - 1))),
    "Every row is one place ahead: the first token has been turned already. No score would show it (section 6 says "
    "why), but a table has a row 0: what is its angle?": with_speeds(right_speed, start=1),
    "The angles were taken as degrees and made much smaller. In which unit does torch.cos count?": with_speeds(
        lambda i, d, theta: math.radians(right_speed(i, d, theta))
    ),
    "The angles are 57 times too large, as if radians had been turned into degrees. Who asked for degrees?": (
        with_speeds(lambda i, d, theta: math.degrees(right_speed(i, d, theta)))
    ),
    "Sines come first. Which of the two does `cos, sin = table` unpack into cos?": lambda d, t, theta: reference_table(
        d, t, theta
    ).flip(0),
    "There is one column for each channel. How many channels share one hand?": lambda d, t, theta: torch.cat(
        (reference_table(d, t, theta),) * 2, dim=-1
    ),
    "Rows and columns are exchanged: each row is a pair. What should a slice `table[:, a:b]` choose?": (
        lambda d, t, theta: reference_table(d, t, theta).transpose(1, 2)
    ),
    "Cosine and sine stand on the last axis. On which axis does unpacking work?": lambda d, t, theta: torch.stack(
        tuple(reference_table(d, t, theta)), dim=-1
    ),
    "The angles themselves came back, twice. What do the rotation's lines multiply with?": lambda d, t, theta: (
        torch.stack((angles(d, t, theta),) * 2).float()
    ),
}


rope_table = Exercise(
    "rope_table",
    "my_rope_table(head_dim, max_seq_len, theta) → (2, T, d/2)",
    [
        {"head_dim": 8, "max_seq_len": 5, "theta": 10.0},
        {"head_dim": 4, "max_seq_len": 7, "theta": 9.0},
        {"head_dim": 16, "max_seq_len": 9, "theta": 5.0},
        {"head_dim": 6, "max_seq_len": 11, "theta": 8.0},
    ],
    reference_table,
    TABLE_MISTAKES,
)


# ---- The smallest base


def smallest(too_small, head_dim, context, powers=range(1, 60)):
    """The first power of ten that is not `too_small(base, head_dim, context)`; None where there is none."""
    return next((10**power for power in powers if not too_small(10**power, head_dim, context)), None)


def wraps(turn_size=2 * math.pi, exponent=lambda d: (d - 2) / d):
    """Does the last hand reach `turn_size` within the context?"""
    return lambda base, d, context: context * base ** -exponent(d) >= turn_size


def reference_base(head_dim, context):
    """By logarithms and no search: base^((d−2)/d) must exceed context / 2π."""
    power = math.log10(context / (2 * math.pi)) * head_dim / (head_dim - 2)
    return 10 ** max(1, math.floor(power) + 1)


def exact_base(head_dim, context):
    return (context / (2 * math.pi)) ** (head_dim / (head_dim - 2))


BASE_MISTAKES = {
    "This base lets the last hand go half way round, a full turn is longer. How many radians has it?": (
        lambda d, context: smallest(wraps(math.pi), d, context)
    ),
    "The last of d/2 hands was given the exponent 1. Counting from 0, which number has it?": (
        lambda d, context: smallest(wraps(exponent=lambda d: 1.0), d, context)
    ),
    "With this base the last hand stays below 360 radians. In which unit is a speed of theta^(−2i/d)?": (
        lambda d, context: smallest(wraps(360.0), d, context)
    ),
    "The last hand was thought to turn as theta^(−i/d): too fast, so the base comes out far too large. What is its "
    "exponent?": lambda d, context: smallest(wraps(exponent=lambda d: (d // 2 - 1) / d), d, context),
    "The last hand stays below one radian. Is that a turn?": lambda d, context: smallest(wraps(1.0), d, context),
    "That is the power and not yet the number: 3 where 1,000 is meant. What did the question ask for?": (
        lambda d, context: math.log10(reference_base(d, context))
    ),
    "With this base the hand does wrap: it is the last one that fails. Which one comes next?": (
        lambda d, context: reference_base(d, context) // 10
    ),
    "At this base the last hand comes round exactly at the end. Which power of ten lies above it?": exact_base,
    "One power less would do as well. Does the search stop at the first base that holds?": lambda d, context: (
        reference_base(d, context) * 10
    ),
    "For a short context the base came out as 1, with which all hands turn alike. With which base does the list of the "
    "question begin?": lambda d, context: smallest(wraps(), d, context, range(60)),
    "For a very long context no base was found: the search ended too early. Up to which base did you look?": (
        lambda d, context: smallest(wraps(), d, context, range(1, 7))
    ),
}


smallest_base = Exercise(
    "smallest_base",
    "my_smallest_base(head_dim, context) → a power of ten",
    [
        {"head_dim": 32, "context": 512},
        {"head_dim": 8, "context": 512},
        {"head_dim": 16, "context": 50},
        {"head_dim": 64, "context": 4096},
        {"head_dim": 128, "context": 131072},
        {"head_dim": 32, "context": 256},
        {"head_dim": 8, "context": 5},  # shorter than a turn
        {"head_dim": 4, "context": 1_000_000},
    ],
    reference_base,
    BASE_MISTAKES,
)


# ---- The guide's complex form


def complex_case(batch, heads, kv_heads, length, dim, start=0, dtype=torch.float32):
    case = rotary_case(batch, heads, kv_heads, length, dim, start, dtype)
    cos, sin = case.pop("freqs_cis")
    return case | {"freqs": torch.complex(cos, sin)}


def by_table(work):
    """work(xq, xk, table) as a function of complex numbers e^(iφ)."""
    return lambda xq, xk, freqs: work(xq, xk, torch.stack((freqs.real, freqs.imag)))


def each(one):
    """A wrong complex form that treats q and k alike, by one(x as complex pairs, freqs)."""

    def both(xq, xk, freqs):
        pairs = (torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) for x in (xq, xk))
        return tuple(one(pair, freqs) for pair in pairs)

    return both


def joined(numbers):
    return torch.view_as_real(numbers).flatten(-2)


COMPLEX_MISTAKES = {
    "The pairs were never joined again: the result has one axis too many. Which axes make up d?": each(
        lambda pair, freqs: torch.view_as_real(pair * freqs)
    ),
    "All real parts come first and all imaginary parts after them. In which order did the channels come in?": each(
        lambda pair, freqs: torch.cat(((pair * freqs).real, (pair * freqs).imag), dim=-1)
    ),
    "The numbers were multiplied with the conjugate, which turns clockwise. Who changed the sign of the angle?": each(
        lambda pair, freqs: joined(pair * freqs.conj())
    ),
    "The angles' numbers were added to the pairs. Which operation on complex numbers adds their angles?": each(
        lambda pair, freqs: joined(pair + freqs)
    ),
    "Only the real part of freqs was used: pairs become shorter and do not turn. What does the other part do?": each(
        lambda pair, freqs: joined(pair * freqs.real)
    ),
    "The halves of x were paired, as our library does. Which channels does the guide's reshape put side by side?": (
        by_table(turn_both)
    ),
    "xk_ was not multiplied with freqs. Whose places does the second result know?": by_table(
        lambda q, k, t: (turn_neighbours(q, t), k + 0)
    ),
    "xq_ was not multiplied with freqs. Does a query have no place?": by_table(
        lambda q, k, t: (q + 0, turn_neighbours(k, t))
    ),
    "The pairs were divided by freqs for the keys only. Which distance comes out of φ + φ?": by_table(
        lambda q, k, t: (turn_neighbours(q, t), turn_neighbours(k, backwards(t)))
    ),
    "The pairs came in 64 bits: how many are left where you make complex numbers of them?": lambda q, k, freqs: tuple(
        torch.view_as_real(torch.view_as_complex(x.float().unflatten(-1, (-1, 2))) * freqs).flatten(-2).type_as(x)
        for x in (q, k)
    ),
}


complex_reference = by_table(lambda q, k, t: (turn_neighbours(q, t), turn_neighbours(k, t)))
complex_rotary = Exercise(
    "complex_rotary",
    "my_complex_rotary(xq, xk, freqs) → the turned xq and xk",
    [
        complex_case(2, 4, 2, 5, 8),
        complex_case(1, 6, 3, 7, 4, start=3),
        complex_case(3, 2, 1, 9, 6, dtype=torch.float64),
    ],
    complex_reference,
    COMPLEX_MISTAKES,
    {SQUEEZED: keeps_64_bits(complex_reference)},
)
