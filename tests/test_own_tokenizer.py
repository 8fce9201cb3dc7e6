"""The learner's own BPE of lesson 06, and that it makes the merges and the ids of SentencePiece."""

from collections import Counter

import pytest

from foundry_lib import Tokenizer, tales
from foundry_lib.lessons import checks, progress
from foundry_lib.lessons.own_tokenizer import tokenizer_parts

SEED, TALES, MERGES = 19, 30, 34  # in these tales no two pairs tie before the 35th merge
MY_MERGE = "def my_merge(ids, pair, new):\n    return [*ids[:-2], new] if tuple(ids[-2:]) == pair else ids\n"
MY_DECODE = (
    "def my_decode(ids, vocabulary):\n    return b''.join(vocabulary[i] for i in ids).decode(errors='replace')\n"
)


@pytest.fixture(autouse=True)
def newcomer(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")


def test_without_own_work_the_references_stand_in(capsys):
    bpe = tokenizer_parts()
    assert capsys.readouterr().out.startswith("Yours: none. The library's: most_common_pair, merge, byte_fallback")
    assert bpe.encode is checks.encode.reference and bpe.merge([1, 2], (1, 2), 9) == [9]


def test_what_passes_is_used_and_what_does_not_is_not(capsys):
    progress.keep("work", "decode", MY_DECODE)
    progress.keep("work", "merge", MY_MERGE)
    bpe = tokenizer_parts()
    assert "Yours: decode. The library's: most_common_pair, merge," in capsys.readouterr().out
    assert bpe.decode.__name__ == "my_decode" and bpe.merge is checks.merge.reference


def learned(bpe, documents: list[str], n: int):
    """char_ids, vocabulary and merges of the documents, as lesson 06 learns them, and the ids that are left."""
    characters = sorted(set("".join(documents)))
    vocabulary = [bytes([byte]) for byte in range(256)] + [character.encode() for character in characters]
    char_ids = {character: 256 + number for number, character in enumerate(characters)}
    words = [word for document in documents for word in document.replace(" ", "\n ").split("\n")]
    ids, merges = [], []
    for number, word in enumerate(words, 1):
        ids += [*bpe.byte_fallback(word, char_ids), -number]
    for new in range(len(vocabulary), len(vocabulary) + n):
        pair = bpe.most_common_pair(ids)
        merges.append((pair, new))
        vocabulary.append(vocabulary[pair[0]] + vocabulary[pair[1]])
        ids = bpe.merge(ids, pair, new)
    return char_ids, vocabulary, merges, ids


def test_the_merges_and_the_ids_are_those_of_sentencepiece():
    """As lesson 06 shows it: words apart, no ties among the merges. The next merge is a tie."""
    bpe, documents = tokenizer_parts(), [tale.text for tale in tales.generate("en", seed=SEED, n=TALES)]
    char_ids, vocabulary, merges, left = learned(bpe, documents, MERGES)
    theirs = Tokenizer.train(documents, 260 + len(char_ids) + MERGES)
    pieces = [theirs.token_bytes(token) for token in range(259, 259 + MERGES)]
    assert [vocabulary[new] for _, new in merges] == pieces
    for text in (documents[0], "the other theatre, naïve 你好 🙂", "  two  spaces and  a\nline"):
        ours = bpe.encode(bpe.byte_fallback(text, char_ids), merges)
        assert [vocabulary[token] for token in ours] == [theirs.token_bytes(token) for token in theirs.encode(text)]
        assert bpe.decode(ours, vocabulary) == text

    (one, n), (other, m), (_, fewer) = Counter(zip(left, left[1:], strict=False)).most_common(3)
    assert n == m > fewer
    assert {vocabulary[a] + vocabulary[b] for a, b in (one, other)} == {b" A", b" k"}
    longer = Tokenizer.train(documents, 260 + len(char_ids) + MERGES + 6)
    assert longer.token_bytes(259 + MERGES) == b" A", "of two equally long ones, the first in alphabetical order"
    assert longer.token_bytes(259 + MERGES + 5) == b"on", "the shorter one, where 'on' and ' wit' are equally frequent"
