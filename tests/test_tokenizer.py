"""The tokenizer loses nothing, belongs to its text, and spells what it does not know."""

import json
import random
import warnings

import numpy as np
import pytest
import sentencepiece
import torch

from foundry_lib import Notice, TokenizerError
from foundry_lib.text import tokenizer as module
from foundry_lib.text import vocabulary
from foundry_lib.text.corpus import Corpus
from foundry_lib.text.textfile import document
from foundry_lib.text.tokenizer import (
    BOS_ID,
    EOS_ID,
    TextStream,
    Tokenizer,
)
from foundry_lib.text.vocabulary import SMALLEST_VOCAB, line_starts, segments, training_lines

TEXT = "The owl said: “满纸荒唐言”, and    slept.\n\n    if owl:\n        sleep()\n" * 40


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXT, 360)


def random_text(rng: random.Random) -> str:
    kinds = (
        lambda: chr(rng.randrange(32, 127)),
        lambda: chr(rng.randrange(1, 32)),
        lambda: chr(rng.randrange(0x4E00, 0x9FFF)),
        lambda: chr(rng.randrange(0x1F300, 0x1F9FF)),
        lambda: chr(rng.randrange(0x300, 0x370)),
        lambda: " " * rng.randrange(1, 9),
        lambda: "\n" * rng.randrange(1, 4),
        lambda: rng.choice(("<s>", "</s>", "<unk>", "<0x41>", "\r\n", "\t", "\u3000", "\ufeff", "ﬁ", "Ａ", "，")),
    )
    return "".join(rng.choice(kinds)() for _ in range(rng.randrange(40)))


def test_every_string_comes_back(tokenizer):
    rng = random.Random(0)
    special = ["", " ", "\n", "a b", " a", "a ", "▅", "▁", " ▁", "a▁▁ b▁\n"]
    for text in [*special, *(random_text(rng) for _ in range(3000))]:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert not set(ids) & {0, BOS_ID, EOS_ID}  # a typed "<s>" is text, and nothing is unknown


def test_a_text_without_spaces_or_newlines_still_teaches_both():
    """Else a space would be spelled as the bytes of SentencePiece's sign for it, and come back as that sign."""
    bare = Tokenizer.train("满纸荒唐言，一把辛酸泪。" * 40, 300)
    assert bare.decode(bare.encode("a b\n c")) == "a b\n c"


def test_the_default_recipe_would_fail_this_test():
    """A test of the test: SentencePiece as it comes loses most of these strings."""
    import io

    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")),
        model_writer=file,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    default = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
    assert [default.decode(default.encode(t)) == t for t in ("a  b", "Ａ，", "a\nb", "😀")] == [False] * 4


def test_begin_and_end(tokenizer):
    ids = tokenizer.encode("owl", bos=True, eos=True)
    assert ids[0] == BOS_ID and ids[-1] == EOS_ID and tokenizer.decode(ids) == "owl"
    assert tokenizer.decode(np.array(ids)) == tokenizer.decode(torch.tensor(ids)) == "owl"
    with pytest.raises(TokenizerError, match=r"one row of ids, found the shape \(1, \d+\)"):
        tokenizer.decode(torch.tensor([ids]))


def test_long_lines_are_learned_from():
    """SentencePiece alone drops a line over 4,192 bytes; half of this text stands in one."""
    text = "xylophone quartz " * 2000 + "\n" + "owl\n" * 100
    lines = training_lines([document(text)])
    assert "".join(lines) == text and max(len(line.encode()) for line in lines) <= 4192
    assert any("quartz" in piece for piece in Tokenizer.train(text, 290).pieces)
    assert "".join(segments([TEXT])) == TEXT


def test_segments_do_not_depend_on_the_pieces():
    """Nor is a segment larger than its bound, so that no line is too long to encode."""
    rng = random.Random(4)
    text = "".join(rng.choice(("a", "b ", "的", "\n", "\n\n\n")) * rng.randrange(1, 9) for _ in range(3000))
    text += "x" * 200_000 + "\n" * 150_000 + "y"
    whole = list(segments([text]))
    assert "".join(whole) == text and max(map(len, whole)) <= 2 * 65_536
    for size in (1, 3, 70_000):
        part = text if size > 3 else text[:9000]
        assert list(segments(part[i : i + size] for i in range(0, len(part), size))) == list(segments([part]))


def test_a_very_large_text_teaches_by_some_of_its_lines(monkeypatch):
    text = "".join(f"line number {n} of many\n" for n in range(2000))
    monkeypatch.setattr(vocabulary, "LARGEST_LESSON", len(text) // 4)
    with pytest.warns(Notice, match="one line in 5|one line in 4"):
        lines = training_lines([document(text)])
    taught = "".join(lines)
    assert len(taught) <= len(text) // 4 and "number 0 " in taught and "number 199" in taught  # from all parts of it


def test_documents_in_blocks_are_the_documents(tokenizer, monkeypatch):
    rng = random.Random(3)
    documents = [text for text in (random_text(rng) for _ in range(300)) if text]
    expected = [i for d in documents for i in tokenizer.encode(d, bos=True, eos=True)]
    for block in (1, 70, 2**20):
        monkeypatch.setattr(module, "BLOCK", block)
        blocks = list(tokenizer.encode_documents(documents))
        assert [i for ids in blocks for i in ids] == expected
    assert len(blocks) == 1
    with pytest.raises(TokenizerError, match="NUL"):
        list(tokenizer.encode_documents(["a", "b\0"]))


def test_runs_of_spaces_are_pieces(tokenizer):
    assert len(tokenizer.encode("        ")) == 1


CODE = "def owl(x):\n    if x:\n        return x\n    y = x\n\n    return y\n\n" * 40


def test_a_line_and_its_indentation_begin_with_one_piece():
    code = Tokenizer.train(CODE, 1024)
    assert [code.pieces[i] for i in code.encode("\n        return x")] == ["\n▁▁▁▁▁▁▁", "▁return", "▁x"]
    for spaces in range(20):  # seen or not
        text = "a:\n" + " " * spaces + "b\n\n" + " " * spaces + "b"
        assert code.decode(code.encode(text)) == text


def test_line_starts_are_those_of_at_least_one_line_in_a_hundred_and_few_where_pieces_are_few():
    lines = ["\n    a"] * 99 + ["\n\n      b"] * 2 + ["\n  c"] + ["\n d", "e  f"] * 49
    assert line_starts(lines, 5) == ["\n▁▁▁", "\n\n▁▁▁▁▁"]
    assert line_starts(lines, 1) == ["\n▁▁▁"] and line_starts(lines, 0) == []
    smallest = Tokenizer.train(CODE, SMALLEST_VOCAB + len(set(CODE) - set(" \n")))
    assert smallest.decode(smallest.encode(CODE)) == CODE


@pytest.mark.parametrize("sign", ["\u2581", "\u2585"], ids=["U+2581", "U+2585"])
def test_a_line_with_a_sign_of_sentencepiece_teaches_and_comes_back(sign):
    """SentencePiece takes U+2581 for a space, and skips training lines with U+2585; progress bars have both."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bars = Tokenizer.train(f"quartz {sign}{sign} load\n" * 200, 290)
    assert any("quartz" in piece for piece in bars.pieces)
    for text in (sign, f"{sign} ", f" {sign}\n", f"quartz{sign}load", f"{sign}{sign}a{sign}"):
        assert bars.decode(bars.encode(text)) == text
        (ids,) = bars.encode_documents([text])
        assert ids == bars.encode(text, bos=True, eos=True)


def test_every_character_of_unicode_comes_back(tokenizer):
    characters = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(characters), 100_000):
        text = " ".join(characters[start : start + 100_000])
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_too_large_a_vocabulary_is_lowered_and_said():
    with pytest.warns(Notice, match="supports .* tokens, so the vocabulary is .* and not 5000"):
        small = Tokenizer.train("ababab\n" * 50, 5000)
    assert SMALLEST_VOCAB < small.vocab_size < 300 and small.decode(small.encode("abc")) == "abc"


def test_too_small_a_vocabulary_is_refused():
    for bad in (100, 260, 300.0, "many"):
        with pytest.raises(TokenizerError, match=f"at least 261.*found {bad!r}"):
            Tokenizer.train(TEXT, bad)
    assert Tokenizer.train("owl " * 90, 264).vocab_size == 264  # what the message names, and the three letters


@pytest.mark.parametrize("size", [261, 262, 300, 560])
def test_a_vocabulary_smaller_than_the_alphabet_spells_the_rare_characters_in_bytes(size):
    many = "".join(chr(0x4E00 + n) * (3 if n < 30 else 1) for n in range(300))
    with pytest.warns(Notice, match=f"{561 - size} characters of text have no token.*vocab_size=561 or more"):
        small = Tokenizer.train(many, size)
    assert small.vocab_size == size and small.decode(small.encode(many + " a▁b\n")) == many + " a▁b\n"
    tokens = small.pieces[259:]
    assert sum(chr(0x4E00 + n) in tokens for n in range(30)) == min(30, size - 261), "the frequent ones have tokens"
    if size == SMALLEST_VOCAB:
        assert len(small.encode(many)) == len(many.encode()), "a token per byte"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Tokenizer.train(many, 561)  # what the notice names


def test_training_is_repeatable(tokenizer):
    assert Tokenizer.train(TEXT, 360).fingerprint == tokenizer.fingerprint != Tokenizer.train(TEXT, 350).fingerprint


def test_threads_change_nothing(tokenizer, monkeypatch):
    monkeypatch.setitem(vocabulary.RECIPE, "num_threads", 4)
    assert Tokenizer.train(TEXT, 360).fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("text, message", [("a\ud800b", "surrogate"), ("a\0b", "NUL")])
def test_what_is_no_text_is_refused(tokenizer, text, message):
    with pytest.raises(TokenizerError, match=message):
        tokenizer.encode(text)


def test_ids_outside_the_vocabulary_are_refused(tokenizer):
    for bad in (-1, tokenizer.vocab_size):
        with pytest.raises(TokenizerError, match=f"Token id {bad} is outside the vocabulary of {tokenizer.vocab_size}"):
            tokenizer.decode([5, bad])


def test_a_stream_gives_whole_characters_and_the_same_text(tokenizer):
    rng, sizes = random.Random(1), []
    for text in ["猫头鹰 😀 zebra", *(random_text(rng) for _ in range(300))]:
        stream = TextStream(tokenizer)
        pieces = [stream.push(i) for i in tokenizer.encode(text)]
        assert "".join(pieces) + stream.finish() == text
        assert not any("\ufffd" in piece for piece in pieces)
        sizes.append(len([p for p in pieces if p]))
    assert sizes[0] > 5
    for _ in range(500):  # any tokens at all, as an untrained model draws them
        ids = [rng.randrange(tokenizer.vocab_size) for _ in range(30)]
        stream = TextStream(tokenizer)
        assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)


def test_it_belongs_to_its_text(tokenizer, tmp_path):
    corpus = Corpus("owls", (TEXT,))
    bound = Tokenizer.train(corpus, 360)
    bound.save(tmp_path)
    again = Tokenizer.load(tmp_path, corpus)
    assert again.fingerprint == bound.fingerprint and again.encode("owl") == bound.encode("owl")
    with pytest.raises(TokenizerError, match="belongs to another text: it was trained on owls"):
        Tokenizer.load(tmp_path, Corpus("owls", (TEXT + "!",)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer.model"]


def test_damaged_files_are_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    proto, note = ((tmp_path / name).read_bytes() for name in ("tokenizer.model", "tokenizer.json"))
    other = Tokenizer.train("zzz yyy xxx\n" * 30, 270)
    cases = [
        (proto[:100], note),
        (b"", note),
        (other._proto, note),
        (proto, b"{}"),
        (proto, b"\xff"),
        (proto, b"[]"),
        (proto, json.dumps({"corpus_name": "", "corpus_sha256": "", "fingerprint": "0"}).encode()),
    ]
    for model, json_note in cases:
        (tmp_path / "tokenizer.model").write_bytes(model)
        (tmp_path / "tokenizer.json").write_bytes(json_note)
        with pytest.raises(TokenizerError, match="train"):
            Tokenizer.load(tmp_path)
    with pytest.raises(TokenizerError, match="no whole tokenizer"):
        Tokenizer.load(tmp_path / "nowhere")


def test_a_very_large_text_is_learned_from_in_part_and_said(monkeypatch):
    monkeypatch.setattr(vocabulary, "LARGEST_LESSON", 1000)
    with pytest.warns(Notice, match="learns from one line in 3"):
        lines = training_lines([document("a line of text\n" * 150)])
    assert len(lines) == 51  # 150 lines and the last line end make 151 segments, of which every third


def test_the_vocabulary_follows_the_amount_of_text():
    """A token for each 20 characters, down to bytes. In a long text every character has one, and 512 are left."""
    rng = random.Random(6)
    letters = [chr(0x4E00 + n) for n in range(900)]
    text = "".join(rng.choices(letters, k=40_000))
    sizes = [Tokenizer.train(text[:n]).vocab_size for n in (5, 2000, 40_000)]
    assert sizes == [261, 361, 261 + 900 + 512]
    small = Tokenizer.train(text[:2000])
    assert small.decode(small.encode(text)) == text
    frequent = [c for c in letters if text[:2000].count(c) >= 3]
    assert 100 < len(frequent) and sum(c in small.pieces for c in frequent) == 100


def test_the_vocabulary_of_a_small_text_has_no_characters_that_are_hardly_seen():
    text = "an owl sat in an oak.\n" * 30 + "quartz"
    tokens = Tokenizer.train(text).pieces[259:]
    assert "o" in tokens and any(len(token) > 1 for token in tokens) and "z" not in tokens


@pytest.mark.parametrize("nothing", ["", [], ["", ""]])
def test_no_text_is_a_sentence(nothing):
    with pytest.raises(TokenizerError, match="text is empty, so there is nothing to learn from"):
        Tokenizer.train(nothing)


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "   \n\n  "])
def test_blank_text_makes_a_tokenizer_of_bytes(blank):
    bare = Tokenizer.train(blank)
    assert bare.decode(bare.encode(f"a{blank}b的")) == f"a{blank}b的"


def test_documents_in_blocks_are_the_documents_one_by_one(tokenizer, monkeypatch):
    documents = [TEXT[:700], "one line", "\n\ntwo\n", TEXT[300:900]]
    expected = [i for d in documents for i in tokenizer.encode(d, bos=True, eos=True)]
    for size in (1, 70, 2**20):
        monkeypatch.setattr(module, "BLOCK", size)
        assert [i for block in tokenizer.encode_documents(documents) for i in block] == expected


def test_rows_of_ids_are_refused(tokenizer):
    with pytest.raises(TokenizerError, match=r"one row of ids, found the shape \(2, 3\)"):
        tokenizer.decode(torch.zeros(2, 3, dtype=torch.long))
