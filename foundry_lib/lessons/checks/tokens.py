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
]


def commonest_pair(ids):
    """Counted in a table, in another way than by zip."""
    pairs = [tuple(ids[i : i + 2]) for i in range(len(ids) - 1)]
    return max(dict.fromkeys(pairs), key=pairs.count)


def place_of_commonest(ids):
    i = list(zip(ids, ids[1:], strict=False)).index(commonest_pair(ids))
    return i, i + 1


most_common_pair = Exercise(
    "most_common_pair",
    "my_most_common_pair(ids) → (first, second)",
    IDS,
    commonest_pair,
    {
        "These are the two most frequent ids, but do they stand side by side?": lambda ids: tuple(
            token for token, _ in Counter(ids).most_common(2)
        ),
        "That pair is the rarest. Which one saves the most tokens when it is merged?": lambda ids: min(
            dict.fromkeys(zip(ids, ids[1:], strict=False)), key=list(zip(ids, ids[1:], strict=False)).count
        ),
        "It is the first pair of the text, whatever follows. Where are the pairs counted?": lambda ids: tuple(ids[:2]),
        "It is the last pair of the text, whatever comes before. Where are the pairs counted?": lambda ids: tuple(
            ids[-2:]
        ),
        "Pairs were counted from every second place only. Can a pair not begin at an odd place?": lambda ids: Counter(
            zip(ids[::2], ids[1::2], strict=False)
        ).most_common(1)[0][0],
        "The pair has its two ids the wrong way round. Which of them comes first in the text?": lambda ids: (
            commonest_pair(ids)[::-1]
        ),
        "It gives how often the pair occurs, and not the pair.": lambda ids: Counter(
            zip(ids, ids[1:], strict=False)
        ).most_common(1)[0][1],
        "The pair and how often it occurs came back together. Which of the two is asked for?": lambda ids: Counter(
            zip(ids, ids[1:], strict=False)
        ).most_common(1)[0],
        "It is the pair with the largest ids. By what should the pairs be compared?": lambda ids: max(
            zip(ids, ids[1:], strict=False)
        ),
        "These are the places where the pair stands in the list. What stands there?": place_of_commonest,
    },
)


def merged(ids, pair, new):
    """From left to right with an index, as one reads."""
    result, i = [], 0
    while i < len(ids):
        hit = tuple(ids[i : i + 2]) == tuple(pair)
        result.append(new if hit else ids[i])
        i += 2 if hit else 1
    return result


def merge_case(ids, pair, new=99):
    return {"ids": ids, "pair": pair, "new": new}


def overlapping(ids, pair, new):
    result = []
    for i, token in enumerate(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(new)
        elif i == 0 or tuple(ids[i - 1 : i + 1]) != pair:
            result.append(token)
    return result


def first_only(ids, pair, new):
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == pair:
            return [*ids[:i], new, *ids[i + 2 :]]
    return ids


def keeping_second(ids, pair, new):
    hits = [tuple(ids[i : i + 2]) == pair for i in range(len(ids))]
    return [new if hit else token for hit, token in zip(hits, ids, strict=True)]


def forgetting_the_end(ids, pair, new):
    result, i = [], 0
    while i < len(ids) - 1:
        hit = tuple(ids[i : i + 2]) == pair
        result.append(new if hit else ids[i])
        i += 2 if hit else 1
    return result


def jumping(ids, pair, new):
    result, i = [], 0
    while i < len(ids):
        hit = tuple(ids[i : i + 2]) == pair
        result.append(new if hit else ids[i])
        i += 3 if hit else 1
    return result


def copying_the_next(ids, pair, new):
    """Without an else: behind each merge a token is copied unseen, if one is left. A text in which " 1 2 " is replaced
    gives the same."""
    result, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(new)
            i += 2
        if i < len(ids):
            result.append(ids[i])
            i += 1
    return result


def reading_beyond(ids, pair, new):
    result, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(new)
            i += 2
        result.append(ids[i])
        i += 1
    return result


def replaced_in_text(ids, pair, new):
    """31 2 holds the text of 1 2."""
    written = " ".join(map(str, ids)).replace(" ".join(map(str, pair)), str(new))
    return [int(token) for token in written.split()]


def at_places(ids, pair, new):
    result, i = [], 0
    while i < len(ids):
        hit = (i, i + 1) == pair
        result.append(new if hit else ids[i])
        i += 2 if hit else 1
    return result


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
    {
        "In 8 8 8 a token was used twice. Once a pair has been merged, where does the reading go on?": overlapping,
        "Only the first place was merged. Does the pair occur again?": first_only,
        "The second token of each merged pair is still there. How many tokens does one merge use up?": keeping_second,
        "The last token is lost when no pair ends there. What happens to a token without a right neighbour?": (
            forgetting_the_end
        ),
        "A token behind each merged pair is missing. How far does the index move after a merge?": jumping,
        "A pair in the other order was merged too. Is b a the same as a b?": lambda ids, pair, new: merged(
            merged(ids, pair, new), pair[::-1], new
        ),
        "Every token of the pair was replaced, also where it stands alone.": lambda ids, pair, new: [
            new if token in pair else token for token in ids
        ],
        "The pair that occurs most often was merged, and not the one that was handed over.": lambda ids, pair, new: (
            merged(ids, commonest_pair(ids), new)
        ),
        "Of two pairs back to back the second was not merged: the token behind a merge is kept without a look. May a "
        "pair begin there?": copying_the_next,
        "The reading goes beyond the end where the list ends with a pair. Which of your steps run after a merge?": (
            reading_beyond
        ),
        "Half a number was taken for a token: in the text of 31 2 there is a 1 2. Are ids letters?": replaced_in_text,
        "The pair was looked for among the places of the list. What does it hold, places or tokens?": at_places,
        "Nothing was merged: the list is as it came.": lambda ids, pair, new: list(ids),
    },
)

LN2 = math.log(2)
LN2_ROUNDED = "Near, but ln 2 was rounded. With how many of its digits does your line count?"


def ln_2_in_full(reference):
    """A property of a conversion to bits: it is not off by just the factor that a rounded ln 2, or 1 / ln 2, makes."""
    factors = [LN2 / rounded for rounded in (0.7, 0.69, 0.693, 0.6931)]
    factors += [LN2 * rounded for rounded in (1.4, 1.44, 1.443, 1.4427)]

    def holds(work, case):
        ratio = float(work(*case.values())) / reference(*case.values())
        return not any(math.isclose(ratio, factor, rel_tol=1e-6) for factor in factors)

    return holds


def bits_case(nats_per_token, n_tokens, n_characters):
    return {"nats_per_token": nats_per_token, "n_tokens": n_tokens, "n_characters": n_characters}


def in_bits(nats, tokens, characters):
    return nats * tokens / characters / math.log(2)


bits_per_character = Exercise(
    "bits_per_character",
    "my_bits_per_character(nats_per_token, n_tokens, n_characters) → a number",
    [bits_case(3.4, 100, 270), bits_case(0.48, 133, 610), bits_case(5.0, 12, 12), bits_case(2.2, 900, 1500)],
    in_bits,
    {
        "That is bits for each token. Does a character cost as much as a token?": lambda n, t, c: n / LN2,
        "That is nats for each character. How many nats are one bit?": lambda n, t, c: n * t / c,
        "Multiplied by ln 2 where a nat holds more than a bit. Is the number of bits larger or smaller?": (
            lambda n, t, c: n * t / c * LN2
        ),
        "Longer tokens make it dearer, and they should make it cheaper. Which number stands below the line?": (
            lambda n, t, c: n * c / t / LN2
        ),
        "The cost was not multiplied by the number of tokens. How much does the whole text cost?": lambda n, t, c: (
            n / c / LN2
        ),
        "It is the cost of the whole text. For how many characters is that?": lambda n, t, c: n * t / LN2,
        "The logarithm to base 10 was used. How many values does a bit have?": lambda n, t, c: n * t / c / math.log(10),
        "A logarithm was taken of the nats, which are a logarithm already. Which number leads from one unit to the "
        "other?": lambda n, t, c: math.log2(n) * t / c,
        "Three digits of ln 2 are too few to count characters with.": lambda n, t, c: n * t / c / 0.693,
    },
    {LN2_ROUNDED: ln_2_in_full(in_bits)},
)


def log_case(*probabilities, n_characters):
    logs = torch.tensor([math.log(p) for p in probabilities], dtype=torch.float64)
    return {"word_log_probs": logs, "n_characters": n_characters}


def floor_in_bits(logs, n):
    return sum(-math.log2(math.exp(value)) for value in logs.tolist()) / n


floor_per_character = Exercise(
    "floor_per_character",
    "my_floor_per_character(word_log_probs, n_characters) → bits, a number",
    [
        log_case(0.5, 0.25, 1.0, n_characters=12),
        log_case(0.1, 1.0, 0.9, 0.04, n_characters=31),
        log_case(0.3, 0.3, n_characters=7),
        log_case(1.0, 0.7, 0.2, 0.2, 1.0, n_characters=18),
    ],
    floor_in_bits,
    {
        "It is negative. Is a cost ever below zero?": lambda logs, n: (logs.sum() / n / LN2).item(),
        "It is in nats. What does the question ask for?": lambda logs, n: (-logs.sum() / n).item(),
        "It was divided by the number of words. Which number of characters was given?": lambda logs, n: (
            -logs.mean() / LN2
        ).item(),
        "The probabilities were added up and not their logarithms. What happens to probabilities of choices that "
        "follow each other?": lambda logs, n: (-torch.log2(logs.exp().sum()) / n).item(),
        "It is the logarithm of the mean probability. Which is taken first, the mean or the logarithm?": (
            lambda logs, n: (-len(logs) * torch.log2(logs.exp().mean()) / n).item()
        ),
        "The certain words, of probability 1, changed the result. What does a certain word cost?": lambda logs, n: (
            (-logs.sum() / LN2 + (logs == 0).sum()) / n
        ).item(),
        "The last word is missing from the sum.": lambda logs, n: (-logs[:-1].sum() / n / LN2).item(),
        "It is no number: the logarithm was taken of logarithms, and those are below zero. What was handed over, "
        "probabilities or their logarithms?": lambda logs, n: (-logs.log2().sum() / n).item(),
        "Three digits of ln 2 are too few for a floor.": lambda logs, n: (-logs.sum() / n / 0.693).item(),
    },
    {LN2_ROUNDED: ln_2_in_full(floor_in_bits)},
)


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
    {
        "x and y are the same: the model is asked to repeat what it reads, and that costs nothing. What should y be?": (
            lambda tokens, starts, T: (rows(tokens, starts, T), rows(tokens, starts, T))
        ),
        "y is two places ahead. Which token comes next after x?": lambda tokens, starts, T: (
            rows(tokens, starts, T),
            rows(tokens, starts, T, 2),
        ),
        "y is what came before x. In which direction does a model predict?": lambda tokens, starts, T: (
            rows(tokens, starts, T),
            rows(tokens, starts, T, -1),
        ),
        "The rows follow each other from the first start on. Where should each one begin?": lambda tokens, starts, T: (
            rows(tokens, starts[0] + T * torch.arange(len(starts)), T),
            rows(tokens, starts[0] + T * torch.arange(len(starts)), T, 1),
        ),
        "Rows are one token short. How many tokens must be cut out, so that x and y both have block_size?": (
            lambda tokens, starts, T: (rows(tokens, starts, T - 1), rows(tokens, starts, T - 1, 1))
        ),
        "x and y are exchanged. Which of them does the model read?": lambda tokens, starts, T: (
            rows(tokens, starts, T, 1),
            rows(tokens, starts, T),
        ),
        "Each id of y is that of x and 1 more. Is the next token in the text the next number?": (
            lambda tokens, starts, T: (rows(tokens, starts, T), rows(tokens, starts, T) + 1)
        ),
        "Time runs down and rows run across. Which axis is the batch, in (B, T)?": lambda tokens, starts, T: (
            rows(tokens, starts, T).T,
            rows(tokens, starts, T, 1).T,
        ),
        "Each row's y ends with the row's own first token. What does the text say there?": lambda tokens, starts, T: (
            rows(tokens, starts, T),
            rows(tokens, starts, T).roll(-1, 1),
        ),
    },
)
