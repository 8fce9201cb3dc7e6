"""Batches: what is in a row, what is kept apart, and what a short or large text does."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from foundry_lib import ConfigError, Corpus, CorpusError, DataLoader, Notice, TokenizerError, tales
from foundry_lib.text import corpus, textfile
from foundry_lib.text import loader as module
from foundry_lib.text.corpus import told
from foundry_lib.text.loader import IGNORED
from foundry_lib.text.split import split_documents
from foundry_lib.text.tokenizer import BOS_ID, EOS_ID
from foundry_lib.text.tokens import cache_folder


def numbered(lines: int) -> str:
    return "".join(f"line {n:05d} of the text\n" for n in range(lines))


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "my text.txt"
    file.write_text(numbered(400), encoding="utf-8")
    return file


def make(path, **options) -> DataLoader:
    return DataLoader(path, **{"batch_size": 4, "block_size": 16, "vocab_size": 300, **options})


def test_a_batch_is_rows_and_what_comes_next(path):
    loader = make(path)
    for split, tokens in (("train", loader.train_tokens), ("val", loader.val_tokens)):
        x, y = loader.get_batch(split)
        assert x.shape == y.shape == (4, 16) and x.dtype == torch.int64 and torch.equal(x[:, 1:], y[:, :-1])
        windows = np.lib.stride_tricks.sliding_window_view(tokens, 17)
        for row, target in zip(x, y, strict=True):
            assert (windows == np.append(row, target[-1]).astype(tokens.dtype)).all(1).any()


def test_every_place_can_be_drawn(path):
    loader = make(path, batch_size=64)
    last = set()
    for _ in range(300):
        last |= set(loader.get_batch("val")[1][:, -1].tolist())
    assert EOS_ID in last  # the very last token is a target too


def test_documents_begin_and_end(path):
    loader = make(path)
    assert loader.train_tokens[0] == BOS_ID and loader.val_tokens[-1] == EOS_ID
    assert loader.train_tokens.dtype == np.uint16
    text = loader.tokenizer.decode(loader.train_tokens) + loader.tokenizer.decode(loader.val_tokens)
    assert text == path.read_text(encoding="utf-8")  # nothing lost, nothing twice


def test_train_and_validation_never_overlap():
    lines = numbered(1000)
    train, val = split_documents((lines,), 0.1)
    assert "".join(train) + "".join(val) == lines and val[0].startswith("line") and 90 < val[0].count("\n") < 110
    train, val = split_documents(("x" * 1000,), 0.1)  # no line end anywhere
    assert len(train[0]) == 900 and len(val[0]) == 100
    many = tuple(f"document {n}" for n in range(100))
    train, val = split_documents(many, 0.2)
    assert tuple(train + val) == many and len(val) in (20, 21)
    uneven = tuple("x" * n for n in (10,) * 30 + (100, 40))  # the nearest boundary is behind the long one, not before
    assert split_documents(uneven, 0.1)[1] == ["x" * 40]
    train, val = split_documents(many, 1e-9)
    assert tuple(train + val) == many and len(val) == 1
    few = ("a\n" * 500, "b\n" * 500, "c\n" * 500)
    train, val = split_documents(few, 0.5)
    assert "".join(train + val) == "".join(few) and abs(sum(map(len, val)) - 1500) < 5


def test_the_tokenizer_learns_from_the_training_part_only(tmp_path):
    file = tmp_path / "t.txt"
    file.write_text(numbered(300) + "qzqzqz " * 150, encoding="utf-8")
    loader = make(file, val_fraction=0.2)
    assert "qz" not in "".join(loader.tokenizer.pieces)
    assert loader.tokenizer.corpus_sha256 == loader.corpus.sha256


def test_the_tokenizer_of_tales_learns_from_the_training_tales_only():
    """A word that only the last tales have is no token."""
    moods = tales.grammar("en").lists["moods"]
    corpus = told(tales.grammar("en").with_(lists={"moods": [*moods, "zyzzyvan"]}), 400)
    order = sorted(range(400), key=lambda number: "zyzzyvan" in corpus.documents[number])
    documents, words = ([values[number] for number in order] for values in (corpus.documents, corpus.words))
    loader = DataLoader(Corpus("ordered", documents, corpus.grammar, tuple(words)), block_size=200)
    assert "zyzzyvan" in loader.tokenizer.decode(loader.val_tokens)
    assert "▁zyzzyvan" not in loader.tokenizer.pieces and f"▁{moods[0]}" in loader.tokenizer.pieces


def test_a_loader_of_some_tales_is_made_again_from_its_note():
    loader = DataLoader(told("zh", 60, seed=2), block_size=200)
    again = DataLoader(**loader.spec(), tokenizer=loader.tokenizer)
    assert again.corpus.name == "60 tales-zh, seed 2" and again.floor.nats == loader.floor.nats
    assert torch.equal(again.get_batch("train")[0], loader.get_batch("train")[0])


def test_validation_is_the_same_each_time_and_complete(path):
    loader = make(path)
    x, y = (torch.cat([part.flatten() for part in parts]) for parts in zip(*loader.val_batches(), strict=True))
    counts = y != IGNORED
    before, targets = loader.val_pairs()
    assert np.array_equal(targets, loader.val_tokens[1:]) and np.array_equal(before, loader.val_tokens[:-1])
    assert np.array_equal(y[counts], targets) and np.array_equal(x[counts], before)
    assert 0 < int((~counts).sum()) < 16  # only the last row is filled up
    assert loader.val_bytes_per_token == pytest.approx(
        len(loader.tokenizer.decode(loader.val_tokens).encode()) / (len(loader.val_tokens) - 1)
    )


def test_the_seed_and_the_state_decide_the_batches(path):
    a, b, c = make(path), make(path), make(path, seed=2)
    torch.manual_seed(3)
    first = [a.get_batch("train")[0] for _ in range(3)]
    torch.rand(9)
    assert all(torch.equal(x, b.get_batch("train")[0]) for x in first)
    b.get_batch("val")
    state, following = b.state(), b.get_batch("train")[0]
    assert torch.equal(following, a.get_batch("train")[0]), "a validation batch changes no training batch"
    assert not torch.equal(c.get_batch("train")[0], first[0])
    c.load_state(state)
    assert torch.equal(c.get_batch("train")[0], following)


def values_named(error) -> list[dict[str, int]]:
    """The settings of block_size and vocab_size that the advice of a refusal names, each way a dict."""
    ways = str(error.value).split("Use more text")[1].split(", or ")[1:]
    return [{name: int(value) for name, value in re.findall(r"(block_size|vocab_size)=(\d+)", way)} for way in ways]


@pytest.mark.parametrize("text", ["ab", "猫头鹰", numbered(2), numbered(60), "三百首唐诗，一字一句。\n" * 9])
@pytest.mark.parametrize("vocab_size", [None, 300])
def test_too_short_names_both_knobs_with_values_that_work(path, text, vocab_size):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"(bytes|tokens) for training.*block_size \+ 1 = [\d,]+ tokens") as refused:
        make(path, block_size=2 * len(text.encode()), vocab_size=vocab_size)
    ways = values_named(refused)
    assert {"block_size", "vocab_size"} == set().union(*ways)
    for way in ways:
        loader = make(path, **{"block_size": 2 * len(text.encode()), "vocab_size": vocab_size, **way})
        assert loader.get_batch("val")[0].shape[1] == loader.block_size
        if "block_size" in way:
            with pytest.raises(CorpusError, match=f"block_size={way['block_size']}"):
                make(path, **{"vocab_size": vocab_size, **way, "block_size": way["block_size"] + 1})


def test_too_short_in_tokens_names_a_vocabulary_that_fits(path):
    with pytest.raises(CorpusError, match="tokens for training") as refused:
        make(path, block_size=600)
    block, vocabulary = values_named(refused)
    assert make(path, **block).block_size == block["block_size"] < 600
    assert make(path, block_size=600, **vocabulary).vocab_size == 261
    with pytest.raises(CorpusError, match="is too short.*Use more text, or block_size=[0-9]+[.]$"):
        make(path, block_size=600, tokenizer=make(path).tokenizer)  # that one is given


def test_a_text_of_one_character_is_too_short(path):
    path.write_text("猫", encoding="utf-8")
    with pytest.raises(CorpusError, match="is too short.*Use more text[.]$"):
        make(path)


def test_a_tokenizer_of_another_text_is_refused(path, tmp_path):
    tokenizer = make(path).tokenizer
    assert make(path, tokenizer=tokenizer).tokenizer is tokenizer
    path.write_text(numbered(401), encoding="utf-8")
    with pytest.raises(TokenizerError, match="another text"):
        make(path, tokenizer=tokenizer)


@pytest.mark.parametrize(
    "bad", [{"batch_size": 0}, {"block_size": 1.5}, {"val_fraction": 0.0}, {"val_fraction": 1}, {"seed": -1}]
)
def test_bad_settings_are_refused_by_name(path, bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        make(path, **bad)
    with pytest.raises(ConfigError, match="no split 'test'"):
        make(path).get_batch("test")


@pytest.mark.parametrize("piece", [7, 1000, 2**20])
def test_a_large_text_gives_the_tokens_of_a_small_one(path, tmp_path, monkeypatch, capsys, piece):
    """Read in pieces, from a file that has everything that a piece's end can cut through."""
    lines = path.read_text(encoding="utf-8").replace("7", "七 😀").replace("of", "\n\n\nof").split("\n")
    path.write_bytes(b"\xef\xbb\xbf" + "".join(a + b for a in lines for b in ("\r\n", "\n", "\r")).encode())
    with pytest.warns(Notice, match="mark at the start|line ends of another"):
        small = make(path, vocab_size=400)
    monkeypatch.setattr(corpus, "LARGE_TEXT", 1000)
    monkeypatch.setattr(textfile, "BLOCK", piece)
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "cache"))
    with pytest.warns(Notice, match="mark at the start|line ends of another"):
        large = make(path, vocab_size=400)
    assert isinstance(large.corpus.documents[0], textfile.TextFile) and "tokenizing" in capsys.readouterr().err
    assert large.corpus.sha256 == small.corpus.sha256 and large.describe() == small.describe()
    assert large.tokenizer.fingerprint == small.tokenizer.fingerprint and large.spec() == small.spec()
    for split in ("train_tokens", "val_tokens"):
        assert np.array_equal(getattr(large, split), getattr(small, split))
    assert torch.equal(large.get_batch("train")[0], small.get_batch("train")[0])


def test_the_tokens_of_a_large_text_are_kept_in_a_file(path, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "LARGE_TEXT", 1000)
    cache = tmp_path / "cache 缓存"
    monkeypatch.setenv("FOUNDRY_CACHE", str(cache))
    loader = make(path)
    assert isinstance(loader.train_tokens, np.memmap)
    stamps = [f.stat().st_mtime_ns for f in sorted(cache.iterdir())]
    assert len(stamps) == 2
    again = DataLoader(**loader.spec(), tokenizer=loader.tokenizer)  # as a training that is gone on with makes it
    assert [f.stat().st_mtime_ns for f in sorted(cache.iterdir())] == stamps  # used again
    assert np.array_equal(again.train_tokens, loader.train_tokens)
    path.write_text(numbered(500), encoding="utf-8")
    make(path)
    assert len(list(cache.iterdir())) == 4  # another text has files of its own
    with pytest.raises(CorpusError, match="has changed since it was first read"):
        make(loader.corpus, val_fraction=0.2)
    assert len(list(cache.iterdir())) == 4
    monkeypatch.setenv("FOUNDRY_CACHE", str(path))  # a file where a folder should be
    with pytest.raises(CorpusError, match="could not be stored in .*FOUNDRY_CACHE"):
        make(path, val_fraction=0.3)


def test_tokens_of_a_process_that_was_killed_are_removed(path, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "LARGE_TEXT", 1000)
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        (tmp_path / "cache" / f"a-0.1-train.tokens.{pid}.new").write_bytes(b"half")
    make(path)
    assert [f.name for f in (tmp_path / "cache").glob("*.new")] == [f"a-0.1-train.tokens.{os.getppid()}.new"]


def test_a_chinese_text_needs_no_setting(tmp_path):
    """A novel has more characters than the default vocabulary has pieces; the default grows with them."""
    file = tmp_path / "小说.txt"
    file.write_text("".join(chr(0x4E00 + n % 900) + "，\n" * (n % 7 == 0) for n in range(40_000)), encoding="utf-8")
    loader = DataLoader(file, block_size=16)
    assert 261 + 900 < loader.vocab_size <= 261 + 901 + 512
    assert loader.tokenizer.decode(loader.train_tokens).startswith("一，\n丁")


def test_python_docs():
    loader = DataLoader("python-docs")
    assert loader.vocab_size == 1024 and len(loader.train_tokens) > 8 * len(loader.val_tokens)
    assert "python-docs" in loader.describe() and "bytes a token" in loader.describe()


def test_a_long_validation_part_is_cut_for_all_alike(path, monkeypatch):
    whole = make(path)
    monkeypatch.setattr(module, "VAL_TOKENS", 100)
    cut = make(path)
    assert np.array_equal(cut.val_tokens, whole.val_tokens[:101])
    text = cut.tokenizer.decode(cut.val_tokens[1:])
    targets = sum(int((y != IGNORED).sum()) for _, y in cut.val_batches())
    assert cut.val_bytes_per_token == len(text.encode()) / 100 and targets == len(cut.val_pairs()[1]) == 100


def sentences(n: int, words: int = 5) -> Corpus:
    """n short documents, each of words that tell its number."""
    return Corpus("sentences", tuple(" ".join([f"word{number}"] * words) for number in range(n)))


def test_short_documents_begin_a_row():
    loader = DataLoader(sentences(200), batch_size=64, block_size=40, vocab_size=300)
    assert loader.by_document
    x, y = loader.get_batch("train")
    assert (x[:, 0] == BOS_ID).all() and torch.equal(x[:, 1:], y[:, :-1])
    assert all(BOS_ID in row[1:] for row in x.tolist())  # the next documents follow in the same row
    first = {loader.tokenizer.decode(row[1 : row.index(EOS_ID)]) for row in x.tolist()}
    assert len(first) > 32 and first <= set(loader.corpus.documents)
    assert not make_long().by_document  # where they do not fit, a row begins anywhere


def test_rows_reach_all_of_a_text_of_short_and_long_documents():
    """Most documents fit, but most of the text lies in those that do not: rows from the documents' first tokens on
    would never show it."""
    documents = [*sentences(60).documents, *(" ".join(f"{n}{i}" for i in range(150)) for n in "abcdefgh")]
    loader = DataLoader(Corpus("mixed", tuple(documents)), batch_size=64, block_size=40, vocab_size=300)
    lengths = np.diff(np.flatnonzero(loader.train_tokens == BOS_ID))
    assert np.median(lengths) <= 41 and not loader.by_document
    seen = np.zeros(len(loader.train_tokens), dtype=bool)
    rows = np.lib.stride_tricks.sliding_window_view(loader.train_tokens, 41)
    places = {row.tobytes(): place for place, row in enumerate(rows)}
    for _ in range(100):
        x, y = loader.get_batch("train")
        for row in torch.cat((x, y[:, -1:]), dim=1).numpy().astype(np.uint16):
            seen[places[row.tobytes()] :][:41] = True
    assert seen.mean() > 0.8  # of two places with the same tokens one is counted


def make_long() -> DataLoader:
    return DataLoader(sentences(100, words=30), batch_size=2, block_size=40, vocab_size=300)


def test_short_documents_are_validated_whole():
    loader = DataLoader(sentences(200), batch_size=4, block_size=40, vocab_size=300)
    read = []
    for x, y in loader.val_batches():
        for row, targets in zip(x.tolist(), y.tolist(), strict=True):
            length = sum(target != IGNORED for target in targets)
            assert row[0] == BOS_ID and targets[:length] == [*row[1:length], EOS_ID]
            assert targets[length:] == [IGNORED] * (len(targets) - length)
            read.append(loader.tokenizer.decode(row[1:length]))
    assert tuple(read) == loader.corpus.documents[-len(read) :]
    assert len(loader.val_pairs()[1]) == len(loader.val_tokens) - len(read)  # BOS is never a target


def test_whole_documents_are_kept_when_a_long_validation_part_is_cut(monkeypatch):
    monkeypatch.setattr(module, "VAL_TOKENS", 100)
    loader = DataLoader(sentences(400), batch_size=4, block_size=40, vocab_size=300)
    assert 60 < len(loader.val_tokens) <= 100 and loader.val_tokens[-1] == EOS_ID
    assert sum(int((y != IGNORED).sum()) for _, y in loader.val_batches()) == len(loader.val_pairs()[1])


def test_a_document_of_many_rows_among_short_ones_is_cut():
    documents = [*sentences(200).documents[:180], "a long one " * 200]
    loader = DataLoader(Corpus("mixed", tuple(documents)), block_size=40, vocab_size=300, val_fraction=0.4)
    assert loader.by_document and loader.longest_row == 80
    _, targets = loader.val_pairs()
    assert "a long one " * 200 in loader.tokenizer.decode(targets)  # every token is a target once


def test_the_cache_folder_is_the_variable_s_or_the_system_s(tmp_path, monkeypatch):
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FOUNDRY_CACHE")
    assert cache_folder().name == "llm-foundry" and cache_folder().is_absolute()
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "llm-foundry"
