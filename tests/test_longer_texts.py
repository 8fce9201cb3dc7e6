"""Texts longer than a model was trained on: rows of tales, other tables of angles, the loss by position."""

import pytest
import torch

from foundry_lib import MiniLLM, ModelConfig, rope_table, tales
from foundry_lib.analysis import longer_texts
from foundry_lib.paths import DATA
from foundry_lib.text.tokenizer import Tokenizer

CONFIG = ModelConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, n_kv_heads=1, max_seq_len=8, tie_embeddings=True)


def test_each_row_begins_with_a_tale_and_is_full():
    tokenizer = Tokenizer.load(DATA / "starter-en")
    rows = longer_texts.tales_in_a_row(tokenizer, count=3, length=400, seed=4)
    assert rows.shape == (3, 401) and (rows[:, 0] == 1).all() and (rows == 1).sum() >= 9
    assert len({tuple(row.tolist()) for row in rows}) == 3
    first = tokenizer.decode(rows[0, : (rows[0] == 2).nonzero()[0]])
    assert tales.parse(first, tales.grammar("en")).tale is not None


def test_another_table_leaves_the_weights_and_reads_longer():
    model, ids = MiniLLM(CONFIG), torch.arange(21).view(1, -1)
    same = longer_texts.with_table(model, rope_table(8, 20, CONFIG.rope_theta))
    short, long = longer_texts.losses(model, ids[:, :9]), longer_texts.losses(same, ids)
    assert same.config.max_seq_len == 20 and long.shape == (1, 20)
    assert torch.allclose(short, long[:, :8], atol=1e-6)
    other = longer_texts.losses(longer_texts.with_table(model, rope_table(8, 20, 3.0)), ids)
    assert (other - long).abs().max() > 1e-6


def test_windows_have_the_mean_of_their_positions():
    values = torch.tensor([[1.0, 3, 5, 7], [3, 5, 5, 9]])
    middles, means, low, high = longer_texts.by_position(values, width=2)
    assert middles == [1, 3] and means == [3, 6.5]
    assert low[1] < 6 < 7 < high[1] and low[1] + high[1] == pytest.approx(13)


def test_the_table_shows_the_difference_text_by_text():
    first = torch.tensor([[9.0, 9, 9, 1], [9, 9, 9, 3]])
    header, one, two = longer_texts.last_quarter({"a": first, "b": first - 0.5}).splitlines()
    assert one.split() == ["a", "2.00"] and two.split() == ["b", "1.50", "−0.50", "(−0.50", "to", "−0.50)"]
