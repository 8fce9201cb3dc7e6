"""Exercises of lesson 02: RoPE and its table of angles."""

import math
from functools import wraps

import torch

from .ladder import Exercise
from .norm import SQUEEZED, keeps_64_bits


def angles(head_dim, max_seq_len, theta, start=0):
    """(T, d/2) in 64 bits: the formula, one angle at a time."""
    positions = range(start, start + max_seq_len)
    speeds = [theta ** (-2 * i / head_dim) for i in range(head_dim // 2)]
    return torch.tensor([[position * speed for speed in speeds] for position in positions], dtype=torch.float64)


def table_of(angle, dtype=torch.float32):
    return torch.stack((angle.cos(), angle.sin())).to(dtype)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


# ---- One tensor


def rotate_case(batch, heads, length, dim, start=0, theta=100.0, dtype=torch.float32):
    table = table_of(angles(dim, length, theta, start), dtype)
    return {"x": normal(batch, heads, length, dim, dtype=dtype), "table": table}


def turn(x, table):
    """The reference: a 2 × 2 matrix for each position and pair, multiplied out by einsum."""
    cos, sin = table
    matrices = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)  # (T, d/2, 2, 2)
    pairs = x.unflatten(-1, (2, x.shape[-1] // 2))
    return torch.einsum("tirc,bhtci->bhtri", matrices, pairs).flatten(-2)


def in_halves(pair):
    """A wrong rotate from pair(a, b, cos, sin) → two new halves."""
    return wraps(pair)(lambda x, table: torch.cat(pair(*x.chunk(2, dim=-1), *table), dim=-1))


def turn_neighbours(x, table):
    cos, sin = table
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


def squeezed(x, table):
    return turn(x.float(), table.float()).type_as(x)


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
    {
        "A vector came out with another length. What does a rotation leave as it is?": keeps_lengths,
        SQUEEZED: keeps_64_bits(turn),
    },
    shapes="... T d, 2 T d/2 -> ... T d",
)


@rotate.mistake
@in_halves
def turned_backwards(a, b, cos, sin):
    """Every pair is turned by its angle, but backwards. In which of the two lines is the minus sign?"""
    return a * cos + b * sin, b * cos - a * sin


@rotate.mistake
def neighbours_paired(x, table):
    """Neighbours were paired, channel 0 with channel 1. Which channel is channel 0's partner where x is cut in two
    halves?"""
    return turn_neighbours(x, table)


@rotate.mistake
@in_halves
def sine_and_cosine_exchanged(a, b, cos, sin):
    """At position 0, where the angle is zero, x changes: cosine and sine are exchanged. Which of
    them is 1 there?"""
    return a * sin - b * cos, a * cos + b * sin


@rotate.mistake
@in_halves
def both_products_added(a, b, cos, sin):
    """The pairs grow or shrink, so this is no rotation: both products are added. Compare the signs with the formula."""
    return a * cos + b * sin, a * sin + b * cos


@rotate.mistake
@in_halves
def both_products_subtracted(a, b, cos, sin):
    """Both products are subtracted, in both lines, and lengths change. How often does the formula have a minus?"""
    return a * cos - b * sin, b * cos - a * sin


@rotate.mistake
def angle_follows_the_head(x, table):
    """The angle depends on the head and not on the position. Which axis of x is T?"""
    return turn(x.transpose(1, 2), table[:, : x.shape[1]]).transpose(1, 2)


@rotate.mistake
def angle_follows_the_batch(x, table):
    """The angle depends on the sequence of the batch. Along which axis of x do the rows of the table belong?"""
    return turn(x.transpose(0, 2), table[:, : x.shape[0]]).transpose(0, 2)


@rotate.mistake
def all_pairs_turn_by_the_first_angle(x, table):
    """All pairs are turned by the angle of the first one. How many columns does the table have?"""
    return turn(x, table[..., :1].expand_as(table))


@rotate.mistake
def all_positions_turn_by_the_first_row(x, table):
    """All positions are turned alike, by the first row of the table. Which row belongs to position t?"""
    return turn(x, table[:, :1].expand_as(table))


@rotate.mistake
@in_halves
def halves_exchanged(a, b, cos, sin):
    """The two new halves are exchanged. Which half of the result belongs to a?"""
    return a * sin + b * cos, a * cos - b * sin


@rotate.mistake
@in_halves
def first_half_overwritten(a, b, cos, sin):
    """The second half is made from the new a, not from the old one. What did the first line overwrite?"""
    a = a * cos - b * sin
    return a, a * sin + b * cos


@rotate.mistake
def table_columns_repeated_for_neighbours(x, table):
    """The halves are paired, but each column of the table was used for two neighbouring channels. Which channels
    share an angle?"""
    cos, sin = table.repeat_interleave(2, dim=-1)
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


@rotate.mistake
def pairs_left_side_by_side(x, table):
    """The numbers are right and their order is not: the result has the pairs side by side. In which order did they
    come in?"""
    return turn(x, table).unflatten(-1, (2, x.shape[-1] // 2)).transpose(-2, -1).flatten(-2)


@rotate.mistake
@in_halves
def second_half_not_turned(a, b, cos, sin):
    """Only the first half was turned. A rotation changes both coordinates of a pair: where is the second line?"""
    return a * cos - b * sin, b + 0 * a


@rotate.mistake
@in_halves
def scaled_by_the_cosine_only(a, b, cos, sin):
    """Each channel is only scaled by its cosine. How does b get into a's new value?"""
    return a * cos, b * cos


@rotate.mistake
def neighbours_read_and_halves_written(x, table):
    """Every second channel was read, and the result was written in halves. Does each pair return to the channels
    that it was read from?"""
    return turn_neighbours(x, table).unflatten(-1, (-1, 2)).transpose(-2, -1).flatten(-2)


@rotate.mistake
def rotation_in_32_bits(x, table):
    """x came in 64 bits: how many has it where you multiply?"""
    return squeezed(x, table)


# ---- Queries and keys


def rotary_case(batch, heads, kv_heads, length, dim, start=0, dtype=torch.float32):
    table = table_of(angles(dim, length, 50.0, start), dtype)
    q, k = (normal(batch, h, length, dim, seed=h, dtype=dtype) for h in (heads, kv_heads))
    return {"xq": q, "xk": k, "table": table}


def turn_both(xq, xk, freqs_cis):
    return turn(xq, freqs_cis), turn(xk, freqs_cis)


def backwards(table):
    return torch.stack((table[0], -table[1]))


def sees_only_distance(work, case):
    """No score changes when all positions move by 7."""
    xq, xk, length = case["xq"], case["xk"], case["xq"].shape[2]
    angle = angles(xq.shape[-1], length + 7, 50.0)

    def scores(start):
        q, k = work(xq, xk, table_of(angle[start : start + length], xq.dtype))
        return q[:, :1] @ k[:, :1].transpose(-2, -1)

    return torch.allclose(scores(0), scores(7), atol=1e-4)


rotary = Exercise(
    "rotary",
    "my_rotary(xq, xk, table) → the turned xq and xk",
    [
        rotary_case(2, 4, 2, 5, 8),
        rotary_case(1, 6, 3, 7, 4, start=3),
        rotary_case(3, 2, 1, 9, 6),
        rotary_case(2, 3, 1, 4, 10, start=50, dtype=torch.float64),
    ],
    turn_both,
    {
        "Both 7 positions later, and the score differs. What should a score see of two positions?": sees_only_distance,
        SQUEEZED: keeps_64_bits(turn_both),
    },
    shapes="B H T d, B K T d, 2 T d/2 -> B H T d, B K T d",
)


@rotary.mistake
def keys_not_turned(xq, xk, freqs_cis):
    """The keys come back as they went in. Which of the two vectors must be turned for a distance?"""
    return turn(xq, freqs_cis), xk + 0


@rotary.mistake
def queries_not_turned(xq, xk, freqs_cis):
    """The queries come back as they went in, so a score would depend only on the key's position. What is the
    first result for?"""
    return xq + 0, turn(xk, freqs_cis)


@rotary.mistake
def queries_turned_backwards(xq, xk, freqs_cis):
    """Queries turn one way and keys the other: a score then depends on m + n. Which sign
    must both angles have, so that their difference remains?"""
    return turn(xq, backwards(freqs_cis)), turn(xk, freqs_cis)


@rotary.mistake
def keys_turned_backwards(xq, xk, freqs_cis):
    """Keys turn against the queries, so that moving both words changes the score. Which call differs from the other?"""
    return turn(xq, freqs_cis), turn(xk, backwards(freqs_cis))


@rotary.mistake
def both_turned_backwards(xq, xk, freqs_cis):
    """Both are turned backwards. Scores still see only the distance, but weights that were trained with the
    usual direction give wrong results. In which direction does a positive angle turn?"""
    return turn_both(xq, xk, backwards(freqs_cis))


@rotary.mistake
def keys_pair_neighbours_queries_halves(xq, xk, freqs_cis):
    """The queries pair their halves and the keys pair neighbours. Do channel 0 of q and channel 0 of k
    still turn by the same angle?"""
    return turn(xq, freqs_cis), turn_neighbours(xk, freqs_cis)


@rotary.mistake
def queries_pair_neighbours_keys_halves(xq, xk, freqs_cis):
    """The keys pair their halves, the queries do not. Which of the two does the table belong to?"""
    return turn_neighbours(xq, freqs_cis), turn(xk, freqs_cis)


@rotary.mistake
def both_pair_neighbours(xq, xk, freqs_cis):
    """Both results pair neighbours. That is a rotation too, but this library pairs halves. Which channel is the partner
    of channel 0?"""
    return turn_neighbours(xq, freqs_cis), turn_neighbours(xk, freqs_cis)


@rotary.mistake
def keys_returned_first(xq, xk, freqs_cis):
    """Keys come first in the result. In which order does attention unpack it?"""
    return turn_both(xk, xq, freqs_cis)


@rotary.mistake
def kv_heads_repeated(xq, xk, freqs_cis):
    """The keys have got as many heads as the queries. Does the rotation have to repeat them?"""
    return turn_both(xq, xk.repeat_interleave(xq.shape[1] // xk.shape[1], dim=1), freqs_cis)


@rotary.mistake
def keys_turned_twice(xq, xk, freqs_cis):
    """The keys were turned twice. Then the distance is counted from where?"""
    return turn(xq, freqs_cis), turn(turn(xk, freqs_cis), freqs_cis)


@rotary.mistake
def key_positions_reversed(xq, xk, freqs_cis):
    """The keys' positions run from the end to the beginning. Which row of the table belongs to the first key?"""
    return turn(xq, freqs_cis), turn(xk, freqs_cis.flip(1))


@rotary.mistake
def one_row_of_the_table_for_all(xq, xk, freqs_cis):
    """Every position was rotated by the first row of the table. Which row belongs to position t?"""
    return turn_both(xq, xk, freqs_cis[:, :1].expand_as(freqs_cis))


@rotary.mistake
def halves_of_both_exchanged(xq, xk, freqs_cis):
    """The two halves are exchanged: at the angle 0 a vector should not change. Which half is a, and which
    is b?"""
    return turn_both(*(torch.cat(x.chunk(2, -1)[::-1], -1) for x in (xq, xk)), freqs_cis)


@rotary.mistake
def keys_one_position_late(xq, xk, freqs_cis):
    """The keys were rotated by the rows of the positions before theirs. Which row belongs to the first key?"""
    return turn(xq, freqs_cis), turn(xk, freqs_cis.roll(1, 1))


@rotary.mistake
def both_in_32_bits(xq, xk, freqs_cis):
    """Queries and keys came in 64 bits: how many are left after your first line?"""
    return squeezed(xq, freqs_cis), squeezed(xk, freqs_cis)


# ---- The table


def reference_table(head_dim, max_seq_len, theta):
    return table_of(angles(head_dim, max_seq_len, theta))


def with_speeds(speed, start=0):
    """A wrong rope_table whose pair i turns by `speed(i, head_dim, theta)` radians per position, in 32 bits.

    A learner's table has 32 bits too. The bases are small, so that even the largest wrong angle has the same cosine in
    both tables.
    """

    @wraps(speed)
    def made(head_dim, max_seq_len, theta):
        speeds = torch.tensor([speed(i, head_dim, theta) for i in range(head_dim // 2)])
        return table_of(torch.outer(torch.arange(start, start + max_seq_len).float(), speeds))

    return made


def right_speed(i, head_dim, theta):
    return theta ** (-2 * i / head_dim)


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
    shapes="-> 2 T d/2",
)


@rope_table.mistake
@with_speeds
def exponent_i_over_d(i, head_dim, theta):
    """The speeds fall half as fast as they should: pair i has i/d in its exponent. How many channels lie before
    pair i?"""
    return theta ** (-i / head_dim)


@rope_table.mistake
@with_speeds
def exponent_over_the_number_of_pairs(i, head_dim, theta):
    """The speeds fall twice as fast as they should. Is the exponent's denominator d or the number of pairs?"""
    return theta ** (-2 * i / (head_dim // 2))


@rope_table.mistake
@with_speeds
def exponent_without_its_minus(i, head_dim, theta):
    """Later pairs turn faster and faster: the speed is multiplied by theta where it should shrink. Which sign has
    the exponent?"""
    return theta ** (2 * i / head_dim)


@rope_table.mistake
@with_speeds
def one_speed_for_all_pairs(i, head_dim, theta):
    """All pairs turn at the speed of the first. Where does i enter?"""
    return 1.0


@rope_table.mistake
@with_speeds
def theta_fixed_at_ten_thousand(i, head_dim, theta):
    """The result does not depend on `theta`: it uses 10,000. Which argument should it use?"""
    return right_speed(i, head_dim, 10000.0)


@rope_table.mistake
@with_speeds
def pairs_in_reverse_order(i, head_dim, theta):
    """The first pair is the slowest and the last the fastest. In which order do the exponents run?"""
    return right_speed(head_dim // 2 - 1 - i, head_dim, theta)


@rope_table.mistake
@with_speeds
def exponents_up_to_one(i, head_dim, theta):
    """The slowest speed is 1/theta to the last digit: the exponents run up to 1. Does 2i/d get there, with i
    below d/2?"""
    return theta ** (-i / max(1, head_dim // 2 - 1))


@rope_table.mistake
def positions_start_at_one(head_dim, max_seq_len, theta):
    """Every row is one position ahead: the first token is turned already. No score shows it (section 8 says why), but
    the table begins with position 0: what is its angle?"""
    return with_speeds(right_speed, start=1)(head_dim, max_seq_len, theta)


@rope_table.mistake
@with_speeds
def angles_taken_as_degrees(i, head_dim, theta):
    """The angles were taken as degrees and made much smaller. In which unit does torch.cos count?"""
    return math.radians(right_speed(i, head_dim, theta))


@rope_table.mistake
@with_speeds
def angles_turned_into_degrees(i, head_dim, theta):
    """The angles are 57 times too large, as if radians had been turned into degrees. Who asked for degrees?"""
    return math.degrees(right_speed(i, head_dim, theta))


@rope_table.mistake
def sines_first(head_dim, max_seq_len, theta):
    """Sines come first. Which of the two does `cos, sin = table` unpack into cos?"""
    return reference_table(head_dim, max_seq_len, theta).flip(0)


@rope_table.mistake
def sines_twice(head_dim, max_seq_len, theta):
    """The first half holds sines too. What is unpacked by `cos, sin = table`?"""
    return reference_table(head_dim, max_seq_len, theta)[[1, 1]]


@rope_table.mistake
def cosines_twice(head_dim, max_seq_len, theta):
    """The second half holds cosines too. What is unpacked by `cos, sin = table`?"""
    return reference_table(head_dim, max_seq_len, theta)[[0, 0]]


@rope_table.mistake
def one_column_per_channel(head_dim, max_seq_len, theta):
    """There is one column for each channel. How many channels share one angle?"""
    return torch.cat((reference_table(head_dim, max_seq_len, theta),) * 2, dim=-1)


@rope_table.mistake
def rows_and_columns_exchanged(head_dim, max_seq_len, theta):
    """Rows and columns are exchanged: each row is a pair. What should a slice `table[:, a:b]` select?"""
    return reference_table(head_dim, max_seq_len, theta).transpose(1, 2)


@rope_table.mistake
def cosine_and_sine_on_the_last_axis(head_dim, max_seq_len, theta):
    """Cosine and sine are on the last axis. On which axis does unpacking work?"""
    return torch.stack(tuple(reference_table(head_dim, max_seq_len, theta)), dim=-1)


@rope_table.mistake
def angles_without_cosine_and_sine(head_dim, max_seq_len, theta):
    """The angles themselves came back, twice. What do the rotation's lines multiply with?"""
    return torch.stack((angles(head_dim, max_seq_len, theta),) * 2).float()
