"""Exercises of lesson 06: merging pairs, losses in comparable units, batches."""

import math
from collections import Counter

import torch

from .ladder import Exercise

IDS = [
    {"ids": [5, 6, 5, 6, 7]},
    {"ids": [1, 2, 3, 1, 2, 3, 3, 1, 2]},
    {"ids": [4, 9, 9, 4, 9, 2, 8, 9, 4, 9]},
    {"ids": [3, 1, 1, 2, 1, 2, 0]},
    {"ids": [8, 8, 7, 1, 8, 7, 1, 8, 7]},
    {"ids": [1, 0, 1, 2, 3, 2, 3, 0]},  # if the last id and the first id were a pair, that pair would win
]


def commonest_pair(ids):
    """The reference: it lists the pairs by slices, where learners use zip."""
    pairs = [tuple(ids[i : i + 2]) for i in range(len(ids) - 1)]
    return Counter(pairs).most_common(1)[0][0]


def commonest_sorted(ids):
    return Counter(tuple(sorted(pair)) for pair in zip(ids, ids[1:], strict=False)).most_common(1)[0][0]


most_common_pair = Exercise(
    "most_common_pair",
    "my_most_common_pair(ids) → (first, second)",
    IDS,
    commonest_pair,
)


@most_common_pair.mistake
def two_most_frequent_ids(ids):
    """These are the two most frequent ids, but do they stand side by side?"""
    return tuple(token for token, _ in Counter(ids).most_common(2))


@most_common_pair.mistake
def rarest_pair(ids):
    """That pair is the rarest. Which one saves the most tokens when it is merged?"""
    return min(dict.fromkeys(zip(ids, ids[1:], strict=False)), key=list(zip(ids, ids[1:], strict=False)).count)


@most_common_pair.mistake
def first_pair(ids):
    """It is the first pair of the text, whatever follows. Where are the pairs counted?"""
    return tuple(ids[:2])


@most_common_pair.mistake
def last_pair(ids):
    """It is the last pair of the text, whatever comes before. Where are the pairs counted?"""
    return tuple(ids[-2:])


@most_common_pair.mistake
def order_of_the_pair_lost(ids):
    """(1, 2) and (2, 1) were counted as one pair, and the smaller id came out first. Is *ab* the same as *ba*?"""
    return commonest_sorted(ids)


@most_common_pair.mistake
def every_second_position_only(ids):
    """Pairs were counted from every second place only. Can a pair not begin at an odd place?"""
    return Counter(zip(ids[::2], ids[1::2], strict=False)).most_common(1)[0][0]


@most_common_pair.mistake
def pair_reversed(ids):
    """The pair has its two ids the wrong way round. Which of them comes first in the text?"""
    return commonest_pair(ids)[::-1]


@most_common_pair.mistake
def count_instead_of_the_pair(ids):
    """It gives how often the pair occurs, and not the pair."""
    return Counter(zip(ids, ids[1:], strict=False)).most_common(1)[0][1]


@most_common_pair.mistake
def pair_with_its_count(ids):
    """The pair and how often it occurs came back together. Which of the two is asked for?"""
    return Counter(zip(ids, ids[1:], strict=False)).most_common(1)[0]


@most_common_pair.mistake
def pair_with_the_largest_ids(ids):
    """It is the pair with the largest ids. By what should the pairs be compared?"""
    return max(zip(ids, ids[1:], strict=False))


@most_common_pair.mistake
def positions_of_the_pair(ids):
    """These are the places where the pair stands in the list. What stands there?"""
    i = list(zip(ids, ids[1:], strict=False)).index(commonest_pair(ids))
    return i, i + 1


def merged(ids, pair, new):
    """The reference: from left to right with an index."""
    result, i = [], 0
    while i < len(ids):
        hit = tuple(ids[i : i + 2]) == tuple(pair)
        result.append(new if hit else ids[i])
        i += 2 if hit else 1
    return result


def merge_case(ids, pair, new=99):
    return {"ids": ids, "pair": pair, "new": new}


merge = Exercise(
    "merge",
    "my_merge(ids, pair, new) → a shorter list",
    [
        merge_case([6, 5, 7, 5, 6, 7], (5, 6)),
        merge_case([1, 2, 3, 1, 2, 3, 3, 1, 2], (1, 2)),
        merge_case([8, 8, 8, 1, 8, 8, 2], (8, 8), 50),
        merge_case([4, 3, 4], (3, 3)),
        merge_case([7, 9, 7, 9, 9, 7, 3, 9, 7], (9, 7), 11),
        merge_case([1, 2, 1, 2, 3], (1, 2)),
        merge_case([31, 2, 1, 25, 1, 2, 1, 2], (1, 2), 40),
    ],
    merged,
)


@merge.mistake
def merged_in_any_order(ids, pair, new):
    """The two tokens were merged in the other order too. Is *ba* the pair *ab*?"""
    result, i = [], 0
    while i < len(ids):
        hit = i + 1 < len(ids) and set(ids[i : i + 2]) == set(pair)
        result.append(new if hit else ids[i])
        i += 2 if hit else 1
    return result


@merge.mistake
def merged_from_the_right(ids, pair, new):
    """Where pairs overlap, the right one was merged. From which end is a text read?"""
    return merged(ids[::-1], pair[::-1], new)[::-1]


@merge.mistake
def overlapping_pairs_merged(ids, pair, new):
    """In 8 8 8 a token was used twice. Once a pair has been merged, where does the reading go on?"""
    result = []
    for i, token in enumerate(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(new)
        elif i == 0 or tuple(ids[i - 1 : i + 1]) != pair:
            result.append(token)
    return result


@merge.mistake
def first_occurrence_only(ids, pair, new):
    """Only the first place was merged. Does the pair occur again?"""
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == pair:
            return [*ids[:i], new, *ids[i + 2 :]]
    return ids


@merge.mistake
def second_token_kept(ids, pair, new):
    """The second token of each merged pair is still there. How many tokens does one merge use up?"""
    hits = [tuple(ids[i : i + 2]) == pair for i in range(len(ids))]
    return [new if hit else token for hit, token in zip(hits, ids, strict=True)]


@merge.mistake
def last_token_lost(ids, pair, new):
    """The last token is lost when no pair ends there. What happens to a token without a right neighbour?"""
    result, i = [], 0
    while i < len(ids) - 1:
        hit = tuple(ids[i : i + 2]) == pair
        result.append(new if hit else ids[i])
        i += 2 if hit else 1
    return result


@merge.mistake
def token_after_a_merge_skipped(ids, pair, new):
    """A token behind each merged pair is missing. How far does the index move after a merge?"""
    result, i = [], 0
    while i < len(ids):
        hit = tuple(ids[i : i + 2]) == pair
        result.append(new if hit else ids[i])
        i += 3 if hit else 1
    return result


@merge.mistake
def reversed_pair_merged_too(ids, pair, new):
    """A pair in the other order was merged too. Is b a the same as a b?"""
    return merged(merged(ids, pair, new), pair[::-1], new)


@merge.mistake
def every_token_of_the_pair_replaced(ids, pair, new):
    """Every token of the pair was replaced, also where it stands alone."""
    return [new if token in pair else token for token in ids]


@merge.mistake
def most_common_pair_merged(ids, pair, new):
    """The pair that occurs most often was merged, and not the one that was handed over."""
    return merged(ids, commonest_pair(ids), new)


@merge.mistake
def token_after_a_merge_copied(ids, pair, new):
    """Of two pairs back to back the second was not merged: the token behind a merge is kept without a look. May a
    pair begin there?"""
    # Without an else. A text in which " 1 2 " is replaced gives the same.
    result, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(new)
            i += 2
        if i < len(ids):
            result.append(ids[i])
            i += 1
    return result


@merge.mistake
def reads_past_the_end(ids, pair, new):
    """The reading goes beyond the end where the list ends with a pair. Which of your steps run after a merge?"""
    result, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(new)
            i += 2
        result.append(ids[i])
        i += 1
    return result


@merge.mistake
def replaced_in_the_text(ids, pair, new):
    """Half a number was taken for a token: in the text of 31 2 there is a 1 2. Are ids letters?"""
    written = " ".join(map(str, ids)).replace(" ".join(map(str, pair)), str(new))
    return [int(token) for token in written.split()]


@merge.mistake
def pair_compared_with_positions(ids, pair, new):
    """The pair was looked for among the places of the list. What does it hold, places or tokens?"""
    result, i = [], 0
    while i < len(ids):
        hit = (i, i + 1) == pair
        result.append(new if hit else ids[i])
        i += 2 if hit else 1
    return result


@merge.mistake
def nothing_merged(ids, pair, new):
    """Nothing was merged: the list is as it came."""
    return list(ids)


LN2 = math.log(2)
LN2_ROUNDED = "Near, but ln 2 was rounded. With how many of its digits does your line count?"


def ln_2_in_full(reference, number=float):
    """A property of a conversion to bits: False where a rounded ln 2, or 1 / ln 2, explains the whole error.

    number: takes the bits out of what the work returns.
    """
    factors = [LN2 / rounded for rounded in (0.7, 0.69, 0.693, 0.6931)]
    factors += [LN2 * rounded for rounded in (1.4, 1.44, 1.443, 1.4427)]

    def holds(work, case):
        ratio = number(work(*case.values())) / reference(*case.values())
        return not any(math.isclose(ratio, factor, rel_tol=1e-6) for factor in factors)

    return holds


def losses_case(*losses, n_bytes):
    return {"losses": torch.tensor(losses), "n_bytes": n_bytes}


def in_units(losses, n_bytes):
    """The reference: it adds bits, where learners add nats."""
    perplexity = math.prod(math.exp(loss / len(losses)) for loss in losses.tolist())
    return perplexity, sum(loss / LN2 for loss in losses.tolist()) / n_bytes


loss_units = Exercise(
    "loss_units",
    "my_loss_units(losses, n_bytes) → (perplexity, bits per byte)",
    [
        losses_case(3.4, 1.2, 0.7, n_bytes=11),
        losses_case(0.5, 0.0, 2.25, 4.5, 1.1, n_bytes=23),
        losses_case(5.5, n_bytes=3),
        losses_case(2.3, 0.1, 0.1, 6.0, n_bytes=14),
    ],
    in_units,
    {LN2_ROUNDED: ln_2_in_full(lambda losses, n_bytes: in_units(losses, n_bytes)[1], lambda result: result[1])},
    value_name=lambda number, case: ("the perplexity", "the bits per byte")[number - 1],
)


def bits(losses):
    return losses.sum().item() / LN2


def perplexity(losses):
    return losses.mean().exp().item()


@loss_units.mistake
def perplexity_of_the_sum(losses, n_bytes):
    """The perplexity is e to the sum of the losses. Is a longer text harder for the same model?"""
    return losses.sum().exp().item(), bits(losses) / n_bytes


@loss_units.mistake
def mean_of_the_exponentials(losses, n_bytes):
    """The perplexity is a mean of exponentials. Which comes first, the mean or the exponential?"""
    return losses.exp().mean().item(), bits(losses) / n_bytes


@loss_units.mistake
def two_to_a_loss_in_nats(losses, n_bytes):
    """The perplexity is a power of 2, and the losses are in nats. Which base belongs to nats?"""
    return 2 ** losses.mean().item(), bits(losses) / n_bytes


@loss_units.mistake
def mean_loss_as_perplexity(losses, n_bytes):
    """The first number is the mean loss. What turns it into a perplexity?"""
    return losses.mean().item(), bits(losses) / n_bytes


@loss_units.mistake
def probability_as_perplexity(losses, n_bytes):
    """The perplexity is below 1: it is a probability. Among how many tokens can a model be uncertain, at the least?"""
    return (-losses.mean()).exp().item(), bits(losses) / n_bytes


@loss_units.mistake
def perplexity_per_byte(losses, n_bytes):
    """The perplexity was divided among the bytes. Is it per token or per byte?"""
    return (losses.sum() / n_bytes).exp().item(), bits(losses) / n_bytes


@loss_units.mistake
def bits_per_token(losses, n_bytes):
    """The second number is in bits per token. Among how many bytes are the bits shared?"""
    return perplexity(losses), bits(losses) / len(losses)


@loss_units.mistake
def nats_per_byte(losses, n_bytes):
    """The second number is in nats per byte. How many nats are one bit?"""
    return perplexity(losses), losses.sum().item() / n_bytes


@loss_units.mistake
def multiplied_by_ln_2(losses, n_bytes):
    """Multiplied by ln 2 where a nat is more than a bit. Is the number of bits larger or smaller?"""
    return perplexity(losses), losses.sum().item() * LN2 / n_bytes


@loss_units.mistake
def mean_loss_shared_among_the_bytes(losses, n_bytes):
    """The mean loss was shared among the bytes. How many bits does the whole text have?"""
    return perplexity(losses), bits(losses) / len(losses) / n_bytes


@loss_units.mistake
def bits_of_the_whole_text(losses, n_bytes):
    """The second number is for the whole text. How many bytes does that have?"""
    return perplexity(losses), bits(losses)


@loss_units.mistake
def logarithm_to_base_10(losses, n_bytes):
    """The logarithm to base 10 was used. How many values does a bit have?"""
    return perplexity(losses), losses.sum().item() / math.log(10) / n_bytes


@loss_units.mistake
def logarithm_of_the_nats(losses, n_bytes):
    """A logarithm was taken of the nats, which are a logarithm already. Which number leads from one unit to the
    other?"""
    return perplexity(losses), math.log2(losses.sum().item()) / n_bytes


@loss_units.mistake
def tokens_and_bytes_exchanged(losses, n_bytes):
    """More bytes make the second number larger, and they should make it smaller. Which number is below the line?"""
    return perplexity(losses), bits(losses) * n_bytes / len(losses) ** 2


@loss_units.mistake
def bits_of_the_perplexity(losses, n_bytes):
    """The bits were computed from the perplexity. What is already a logarithm, the loss or the perplexity?"""
    return perplexity(losses), perplexity(losses) * len(losses) / LN2 / n_bytes


@loss_units.mistake
def results_exchanged(losses, n_bytes):
    """The two numbers are exchanged. Which comes first?"""
    return bits(losses) / n_bytes, perplexity(losses)


@loss_units.mistake
def ln_2_to_three_digits(losses, n_bytes):
    """Three digits of ln 2 are too few to count bytes with."""
    return perplexity(losses), losses.sum().item() / 0.693 / n_bytes


def batch_case(n_tokens, starts, block_size):
    g = torch.Generator().manual_seed(n_tokens)
    tokens = torch.randint(0, 50, (n_tokens,), generator=g)
    return {"tokens": tokens, "starts": torch.tensor(starts), "block_size": block_size}


def batch_by_loops(tokens, starts, block_size):
    rows = [[tokens[start + t].item() for t in range(block_size + 1)] for start in starts.tolist()]
    return torch.tensor([row[:-1] for row in rows]), torch.tensor([row[1:] for row in rows])


def rows(tokens, starts, length, offset=0):
    return tokens[(starts[:, None] + torch.arange(length) + offset) % len(tokens)]


next_token_batch = Exercise(
    "next_token_batch",
    "my_batch(tokens, starts, block_size) → x, y, each (len(starts), block_size)",
    [batch_case(30, [0, 7, 20], 5), batch_case(41, [3, 30], 8), batch_case(17, [1, 2, 9, 4], 3)],
    batch_by_loops,
    shapes="N, B -> B T, B T",
)


@next_token_batch.mistake
def both_one_position_late(tokens, starts, block_size):
    """x and y fit each other, but both begin one position after their start. Which token does x[b, 0] hold?"""
    return rows(tokens, starts, block_size, 1), rows(tokens, starts, block_size, 2)


@next_token_batch.mistake
def targets_of_the_next_block(tokens, starts, block_size):
    """y is the block after x: each target is block_size positions ahead. Which token comes next after x[b, t]?"""
    return rows(tokens, starts, block_size), rows(tokens, starts, block_size, block_size)


@next_token_batch.mistake
def starts_not_used(tokens, starts, block_size):
    """`starts` changes nothing: the rows are cut from the beginning of the text. Where should row b begin?"""
    whole = torch.arange(len(starts)) * block_size
    return rows(tokens, whole, block_size), rows(tokens, whole, block_size, 1)


@next_token_batch.mistake
def axis_of_the_rows_missing(tokens, starts, block_size):
    """B starts were added to T steps number by number. Which shapes give a table of B rows and T columns?"""
    positions = starts + torch.arange(block_size)
    return tokens[positions], tokens[positions + 1]


@next_token_batch.mistake
def targets_equal_inputs(tokens, starts, block_size):
    """x and y are the same: the model is asked to repeat what it reads, and that costs nothing. What should y be?"""
    return rows(tokens, starts, block_size), rows(tokens, starts, block_size)


@next_token_batch.mistake
def targets_two_ahead(tokens, starts, block_size):
    """y is two places ahead. Which token comes next after x?"""
    return rows(tokens, starts, block_size), rows(tokens, starts, block_size, 2)


@next_token_batch.mistake
def targets_one_behind(tokens, starts, block_size):
    """y is what came before x. In which direction does a model predict?"""
    return rows(tokens, starts, block_size), rows(tokens, starts, block_size, -1)


@next_token_batch.mistake
def rows_follow_each_other(tokens, starts, block_size):
    """The rows follow each other from the first start on. Where should each one begin?"""
    return (
        rows(tokens, starts[0] + block_size * torch.arange(len(starts)), block_size),
        rows(tokens, starts[0] + block_size * torch.arange(len(starts)), block_size, 1),
    )


@next_token_batch.mistake
def rows_one_token_short(tokens, starts, block_size):
    """Rows are one token short. How many tokens must be cut out, so that x and y both have block_size?"""
    return rows(tokens, starts, block_size - 1), rows(tokens, starts, block_size - 1, 1)


@next_token_batch.mistake
def inputs_and_targets_exchanged(tokens, starts, block_size):
    """x and y are exchanged. Which of them does the model read?"""
    return rows(tokens, starts, block_size, 1), rows(tokens, starts, block_size)


@next_token_batch.mistake
def ids_plus_one(tokens, starts, block_size):
    """Each id of y is that of x and 1 more. Is the next token in the text the next number?"""
    return rows(tokens, starts, block_size), rows(tokens, starts, block_size) + 1


@next_token_batch.mistake
def batch_and_time_exchanged(tokens, starts, block_size):
    """Time runs down and rows run across. Which axis is the batch, in (B, T)?"""
    return rows(tokens, starts, block_size).T, rows(tokens, starts, block_size, 1).T


@next_token_batch.mistake
def targets_wrap_around(tokens, starts, block_size):
    """Each row's y ends with the row's own first token. What does the text say there?"""
    return rows(tokens, starts, block_size), rows(tokens, starts, block_size).roll(-1, 1)
