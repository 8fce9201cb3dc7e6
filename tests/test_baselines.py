"""The reference lines against sums done by hand."""

import math

import numpy as np
import pytest

from foundry_lib import DataLoader
from foundry_lib.text import baselines
from foundry_lib.text.baselines import bigram_loss, bits_per_byte, reference_lines, unigram_loss

TRAIN, VAL, V = np.array([0, 1, 0, 1, 0, 2], dtype=np.uint16), np.array([0, 1, 2], dtype=np.uint16), 3


def test_unigram_by_hand():
    probs = {0: 4 / 9, 1: 3 / 9, 2: 2 / 9}  # counts 3, 2, 1, each plus one
    assert unigram_loss(TRAIN, VAL[1:], V) == pytest.approx(-(math.log(probs[1]) + math.log(probs[2])) / 2)


def test_bigram_by_hand():
    p = {1: 3 / 9, 2: 2 / 9}
    losses = []
    for strength in (2.0**i for i in range(-4, 16)):
        after_0 = (2 + strength * p[1]) / (3 + strength)  # 0 was followed by 1, 1, 2
        after_1 = (0 + strength * p[2]) / (2 + strength)  # 1 was followed by 0, 0
        losses.append(-(math.log(after_0) + math.log(after_1)) / 2)
    assert bigram_loss(TRAIN, VAL[:-1], VAL[1:], V) == pytest.approx(min(losses))


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_counting_a_part_at_a_time_changes_nothing(monkeypatch, chunk):
    tokens = np.random.default_rng(0).zipf(1.5, 3000) % 50
    train, val = tokens[:2500].astype(np.uint16), tokens[2500:].astype(np.uint16)
    whole = unigram_loss(train, val, 50), bigram_loss(train, val[:-1], val[1:], 50)
    monkeypatch.setattr(baselines, "CHUNK", chunk)
    assert (unigram_loss(train, val, 50), bigram_loss(train, val[:-1], val[1:], 50)) == whole


def test_a_text_of_pairs_is_known_to_the_bigram_alone():
    pairs = np.array([0, 1, 2, 3] * 500, dtype=np.uint16)
    assert unigram_loss(pairs, pairs[1:], 4) == pytest.approx(math.log(4), abs=1e-3)
    assert bigram_loss(pairs, pairs[:-1], pairs[1:], 4) < 0.01


def test_lines_of_real_text_are_ordered():
    lines = reference_lines(DataLoader("python-docs"))
    assert list(lines) == ["ln V", "unigram", "bigram"]
    assert (
        lines["ln V"] == pytest.approx(math.log(1024)) and 6.2 > lines["unigram"] > 5.5 and 4.6 > lines["bigram"] > 3.8
    )


def test_bits_per_byte():
    assert bits_per_byte(math.log(2) * 6, 3) == pytest.approx(2)
