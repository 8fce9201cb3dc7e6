"""Exercises of lesson 06: the learner's own tokenizer encodes a new text, spells in bytes, and decodes."""

from collections import Counter

import torch
from torch import Tensor

from .ladder import Exercise
from .tokens import commonest_pair, merged


def flat_ids(work, case: dict):
    """The learner's list of ids. A list inside the list becomes its text, which the ladder refuses: of the list itself
    it would take the numbers one by one."""
    result = work(*case.values())
    if isinstance(result, list):
        return [str(part) if isinstance(part, (list, tuple)) else part for part in result]
    return result


def with_merges(ids: list[int], merges: list[tuple[tuple[int, int], int]]) -> list[int]:
    """The reference: of all neighbours that have a merge, the one that was learned first is merged, until none is left.

    Learners go through the merges in order, which gives the same.
    """
    order = {pair: (number, new) for number, (pair, new) in enumerate(merges)}
    while known := [order[pair] for pair in zip(ids, ids[1:], strict=False) if pair in order]:
        number, new = min(known)
        ids = merged(ids, merges[number][0], new)
    return list(ids)


def encode_case(ids, *pairs, first=300):
    return {"ids": ids, "merges": [(pair, new) for new, pair in enumerate(pairs, first)]}


encode = Exercise(
    "encode",
    "my_encode(ids, merges) → a list of ids",
    [
        encode_case([1, 2, 3, 9, 1, 2, 3, 2, 1], (2, 3), (1, 300)),
        encode_case([4, 1, 2, 3, 4, 3, 4], (3, 4), (1, 2), (2, 3), (301, 300)),
        encode_case([5, 6, 7, 5, 6, 5, 6, 7, 7], (8, 9), (6, 7), (5, 6), (5, 301), first=400),
        encode_case([7, 7, 7, 7, 7, 1, 2, 1, 2, 1], (7, 7), (500, 500), (2, 1), (501, 7), first=500),
        encode_case([3, 1, 4, 1, 5, 9, 2, 6], (1, 4), (9, 2), (5, 9), (3, 300), (302, 6), (1, 5)),
        encode_case([1, 2, 3, 4, 5, 1, 2, 3, 4], (1, 2), (3, 4), (2, 3), (300, 301), (303, 5)),
        encode_case([1, 2, 3, 4, 1, 2, 3], (2, 3), (1, 2), (1, 300), (3, 4)),  # the longest, and not the leftmost
        encode_case([1, 2, 3, 2, 3, 2, 3], (1, 2), (2, 3)),  # the leftmost, and not the most frequent
    ],
    with_merges,
    run=flat_ids,
)


@encode.mistake
def newest_merge_first(ids, merges):
    """The merge that was learned last came first. In which order did the training text see them?"""
    for pair, new in reversed(merges):
        ids = merged(ids, pair, new)
    return list(ids)


@encode.mistake
def leftmost_pair_first(ids, merges):
    """The first pair from the left was merged, whichever merge it has. Which of two neighbouring pairs comes first, the
    left one or the one that was learned first?"""
    new_of = dict(merges)
    while True:
        i = next((i for i, pair in enumerate(zip(ids, ids[1:], strict=False)) if pair in new_of), None)
        if i is None:
            return list(ids)
        ids = [*ids[:i], new_of[tuple(ids[i : i + 2])], *ids[i + 2 :]]


@encode.mistake
def one_walk_over_the_text(ids, merges):
    """The text was read only once, and what a merge makes was never merged again. How many merges can one token have
    been through?"""
    new_of, result, i = dict(merges), [], 0
    while i < len(ids):
        hit = tuple(ids[i : i + 2]) in new_of
        result.append(new_of[tuple(ids[i : i + 2])] if hit else ids[i])
        i += 2 if hit else 1
    return result


@encode.mistake
def longest_token_first(ids, merges):
    """At each position the longest token that fits was taken. Was the training text cut in this way, or merged pair by
    pair?"""
    spelled = {}
    for (a, b), new in merges:
        spelled[new] = spelled.get(a, (a,)) + spelled.get(b, (b,))
    result, i = [], 0
    while i < len(ids):
        fitting = [new for new, signs in spelled.items() if tuple(ids[i : i + len(signs)]) == signs]
        best = max(fitting, key=lambda new: len(spelled[new]), default=None)
        result.append(ids[i] if best is None else best)
        i += 1 if best is None else len(spelled[best])
    return result


@encode.mistake
def learned_again_from_the_new_text(ids, merges):
    """The pair that is the most frequent in the new text was merged. Whose counts made the vocabulary?"""
    for _, new in merges:
        if len(ids) > 1:
            ids = merged(ids, commonest_pair(ids), new)
    return list(ids)


@encode.mistake
def first_occurrence_of_each_merge(ids, merges):
    """Each merge was applied only once. Does its pair occur again?"""
    for pair, new in merges:
        i = next((i for i, two in enumerate(zip(ids, ids[1:], strict=False)) if two == pair), None)
        ids = ids if i is None else [*ids[:i], new, *ids[i + 2 :]]
    return list(ids)


@encode.mistake
def stops_at_a_merge_that_the_text_lacks(ids, merges):
    """It ends at the first merge whose pair the text does not have. Can a later merge still have its pair there?"""
    for pair, new in merges:
        shorter = merged(ids, pair, new)
        if shorter == ids:
            break
        ids = shorter
    return list(ids)


@encode.mistake
def only_the_first_merge(ids, merges):
    """Only the first merge was applied. At which line does the function return?"""
    return merged(ids, *merges[0])


@encode.mistake
def each_merge_on_the_text_as_it_came(ids, merges):
    """Only the last merge is left: each one began again with the text as it came. What does a merge read?"""
    return merged(ids, *merges[-1])


@encode.mistake
def last_merge_missing(ids, merges):
    """The last merge is missing. Where does the loop end?"""
    return with_merges(ids, merges[:-1])


@encode.mistake
def number_of_the_merge_as_id(ids, merges):
    """The id of a new token is the number of its merge in the list. Which id comes with each merge?"""
    return with_merges(ids, [(pair, number) for number, (pair, _) in enumerate(merges)])


@encode.mistake
def pairs_turned_round(ids, merges):
    """The pairs were merged in the other order. Is *ba* the pair *ab*?"""
    return with_merges(ids, [(pair[::-1], new) for pair, new in merges])


@encode.mistake
def most_frequent_known_pair_first(ids, merges):
    """Of the merges that fit, the one whose pair is the most frequent in the new text came first. Which number orders
    them?"""
    new_of = dict(merges)
    while known := [pair for pair in zip(ids, ids[1:], strict=False) if pair in new_of]:
        pair = Counter(known).most_common(1)[0][0]
        ids = merged(ids, pair, new_of[pair])
    return list(ids)


@encode.mistake
def no_merge_applied(ids, merges):
    """No merge was applied: the ids are as they came."""
    return list(ids)


# ---- Bytes


def in_bytes(text: str, char_ids: dict[str, int]) -> list[int]:
    """The reference: it makes a list for each character, where learners extend one list."""
    parts = [[char_ids[sign]] if sign in char_ids else list(sign.encode("utf-8")) for sign in text]
    return sum(parts, [])


LETTERS = {letter: 256 + number for number, letter in enumerate(" adehilnoprtvwy")}

byte_fallback = Exercise(
    "byte_fallback",
    "my_byte_fallback(text, char_ids) → a list of ids",
    [
        {"text": "naïve", "char_ids": LETTERS},
        {"text": "hello 你好", "char_ids": LETTERS | {"好": 300}},
        {"text": "a Zoo!", "char_ids": LETTERS},
        {"text": "the owl", "char_ids": LETTERS},
        {"text": "🙂 or ï", "char_ids": LETTERS},
        {"text": "the arrow → an idea", "char_ids": LETTERS},
    ],
    in_bytes,
    run=flat_ids,
    case_in_words=lambda case: f"text {case['text']!r}",
)


@byte_fallback.mistake
def code_point_in_place_of_bytes(text, char_ids):
    """A character without a token got one large number, its code point. How many bytes does UTF-8 give it?"""
    return [char_ids.get(sign, ord(sign)) for sign in text]


@byte_fallback.mistake
def unknown_characters_left_out(text, char_ids):
    """The characters without a token are missing. What does the text become when it is decoded?"""
    return [char_ids[sign] for sign in text if sign in char_ids]


@byte_fallback.mistake
def one_id_for_all_unknown(text, char_ids):
    """All characters without a token got one and the same id. Can they be told apart afterwards?"""
    return [char_ids.get(sign, 0) for sign in text]


@byte_fallback.mistake
def first_byte_only(text, char_ids):
    """Only the first byte of a character came out. How many bytes has ï?"""
    return [char_ids.get(sign, sign.encode("utf-8")[0]) for sign in text]


@byte_fallback.mistake
def all_characters_in_bytes(text, char_ids):
    """Every character was spelled in bytes, also those that have a token. Which of them need bytes?"""
    return list(text.encode("utf-8"))


@byte_fallback.mistake
def whole_text_in_bytes_where_one_is_unknown(text, char_ids):
    """One character without a token turned the whole text into bytes. What about its neighbours?"""
    known = all(sign in char_ids for sign in text)
    return in_bytes(text, char_ids) if known else list(text.encode("utf-8"))


@byte_fallback.mistake
def bytes_in_reverse(text, char_ids):
    """The bytes of a character came out in reverse. Which of them comes first in UTF-8?"""
    parts = [[char_ids[sign]] if sign in char_ids else list(sign.encode("utf-8"))[::-1] for sign in text]
    return sum(parts, [])


@byte_fallback.mistake
def another_encoding(text, char_ids):
    """The bytes are those of another encoding, UTF-16. Which one does the task name?"""
    parts = [[char_ids[sign]] if sign in char_ids else list(sign.encode("utf-16-le")) for sign in text]
    return sum(parts, [])


@byte_fallback.mistake
def stops_at_the_first_unknown(text, char_ids):
    """The list ends after the first character without a token. What follows it in the text?"""
    result = []
    for sign in text:
        if sign not in char_ids:
            return result + list(sign.encode("utf-8"))
        result.append(char_ids[sign])
    return result


@byte_fallback.mistake
def unknown_characters_at_the_end(text, char_ids):
    """The bytes come after all the tokens. Where in the text is their character?"""
    known = [char_ids[sign] for sign in text if sign in char_ids]
    return known + list("".join(sign for sign in text if sign not in char_ids).encode("utf-8"))


@byte_fallback.mistake
def bytes_moved_by_256(text, char_ids):
    """256 was added to each byte. Which ids are the bytes', and which the characters'?"""
    parts = [[char_ids[sign]] if sign in char_ids else [256 + b for b in sign.encode("utf-8")] for sign in text]
    return sum(parts, [])


# ---- Decode


def as_codes(work, case: dict) -> Tensor:
    """The learner's text as the codes of its characters, which the ladder compares."""
    result = work(*case.values())
    if result is None or result is Ellipsis:
        return result
    if not isinstance(result, str):
        raise TypeError(f"the result is of type {type(result).__name__}, and a text (str) is expected")
    return torch.tensor([ord(sign) for sign in result], dtype=torch.int64)


def from_bytes(ids: list[int], vocabulary: list[bytes]) -> str:
    """The reference: it collects all bytes in one array, where learners join them."""
    collected = bytearray()
    for token in ids:
        collected += vocabulary[token]
    return str(collected, "utf-8", "replace")


VOCABULARY = [bytes([byte]) for byte in range(256)]
VOCABULARY += [text.encode() for text in ("a", "n", " t", "he", " the", "ve", "你", " owl", "é", " ")]
SMILE = list("🙂".encode())

decode = Exercise(
    "decode",
    "my_decode(ids, vocabulary) → a text (str)",
    [
        {"ids": [257, 256, 195, 175, 261], "vocabulary": VOCABULARY},
        {"ids": [258, 259, 263, 265, 262, 229, 165, 189], "vocabulary": VOCABULARY},
        {"ids": [*SMILE, 260, 263, 33], "vocabulary": VOCABULARY},
        {"ids": [256, 264, 257, 226, 134], "vocabulary": VOCABULARY},  # the last character is cut off
        {"ids": [260, 265, *SMILE[:2], 257, 264, 257], "vocabulary": VOCABULARY},  # one in the middle is broken
    ],
    from_bytes,
    run=as_codes,
    case_in_words=lambda case: f"ids {case['ids']}",
)


@decode.mistake
def each_token_by_itself(ids, vocabulary):
    """Each token was turned into text by itself, and a byte of a larger character is no text. When are the bytes of a
    character together?"""
    return "".join(vocabulary[token].decode("utf-8", errors="replace") for token in ids)


@decode.mistake
def broken_bytes_left_out(ids, vocabulary):
    """Bytes that form no whole character are missing from the text. Which sign shows that something was there?"""
    return b"".join(vocabulary[token] for token in ids).decode("utf-8", errors="ignore")


@decode.mistake
def single_bytes_left_out(ids, vocabulary):
    """Every token that is part of a character is missing. Where do the other bytes of that character go?"""
    return "".join(vocabulary[token].decode("utf-8", errors="ignore") for token in ids)


@decode.mistake
def each_byte_a_character(ids, vocabulary):
    """Each byte became a character of its own. How many bytes does ï have in UTF-8?"""
    return b"".join(vocabulary[token] for token in ids).decode("latin-1")


@decode.mistake
def spaces_between_the_tokens(ids, vocabulary):
    """Between the tokens there are spaces that the text did not have. Where does a token keep its space?"""
    return b" ".join(vocabulary[token] for token in ids).decode("utf-8", errors="replace")


@decode.mistake
def spelling_of_the_bytes_objects(ids, vocabulary):
    """The text shows how Python writes bytes: b'…'. Which method turns bytes into text?"""
    return "".join(str(vocabulary[token]) for token in ids)


@decode.mistake
def ids_taken_as_characters(ids, vocabulary):
    """Each id became the character of that number. What does the vocabulary hold for it?"""
    return "".join(chr(token) for token in ids)


@decode.mistake
def broken_bytes_raise(ids, vocabulary):
    """Bytes that form no whole character raise an error. What does the task want in their position?"""
    return b"".join(vocabulary[token] for token in ids).decode("utf-8")


@decode.mistake
def byte_tokens_not_decoded(ids, vocabulary):
    """The tokens for single bytes are missing. What do they spell together?"""
    return b"".join(vocabulary[token] for token in ids if token > 255).decode("utf-8", errors="replace")


@decode.mistake
def bytes_returned(ids, vocabulary):
    """These are the bytes, and not yet the text. Which method turns them into text?"""
    return b"".join(vocabulary[token] for token in ids)


@decode.mistake
def backslashes_for_broken_bytes(ids, vocabulary):
    r"""Broken bytes are written with a backslash, as \xe2. Which sign does the task name?"""
    return b"".join(vocabulary[token] for token in ids).decode("utf-8", errors="backslashreplace")


@decode.mistake
def list_of_texts(ids, vocabulary):
    """It returned a list of texts, and one text is asked for."""
    return [vocabulary[token].decode("utf-8", errors="replace") for token in ids]
