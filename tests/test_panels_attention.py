"""The head explorer and the price of kv heads: their numbers are right, their controls move them, bad input is told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from foundry_lib import KVCache, MiniLLM, ModelConfig, Tokenizer, plots, tales
from foundry_lib.analysis import heads as look
from foundry_lib.experiments import ablations
from foundry_lib.panels import cache_quality, head_explorer
from foundry_lib.training.checkpoint import load_checkpoint

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="module", params=["en", "zh"])
def parts(request):
    model, tokenizer = load_checkpoint(DATA / f"starter-{request.param}")
    told = tales.generate(request.param, 5, 8)
    return model, tokenizer, look.looks(model, tokenizer, told), told[0].text


def test_the_explorer_says_what_is_measured(parts):
    model, tokenizer, found, text = parts
    ids = torch.tensor([tokenizer.encode(text, bos=True)[:30]])
    text = tokenizer.decode(ids[0].tolist())
    said = head_explorer.Explorer(model, tokenizer, found).draw(
        Figure(), text=text, sentence=0, head=(1, 2), silent=True
    )
    weight, place = look.attention_weights(model, ids)[1, 2, -1].max(0)
    word = head_explorer.names_of(tokenizer, ids[0].tolist())[place]
    assert f"attends most to ‘{word}’ ({weight:.2f})" in said and look.label(found, 1, 2) in said
    chance = model(ids)[0][0, -1].softmax(-1).max()
    with look.silenced(model, 1, 2):
        without = model(ids)[0][0, -1].softmax(-1).max()
    assert f"({chance:.2f}); without the head" in said and said.endswith(f"({without:.2f}).")


def test_each_control_moves_the_reading(parts, capsys):
    model, tokenizer, found, text = parts
    panel = head_explorer.head_explorer(model, tokenizer, found, tokenizer.decode(tokenizer.encode(text)[:12]))
    seen = [panel.reading]
    for change in (dict(head=(1, 3)), dict(silent=True), dict(text=tokenizer.decode(tokenizer.encode(text)[:9]))):
        panel.set(**change)
        seen.append(panel.reading)
    assert len(set(seen)) == 4
    panel.set(text=" ")
    panel.set(text=text * 9)
    said = capsys.readouterr().out
    assert "There is no text" in said and "The model reads 256 tokens, found" in said


def test_the_names_can_be_drawn(parts):
    model, tokenizer, found, text = parts
    names = head_explorer.names_of(tokenizer, tokenizer.encode(text, bos=True))
    assert names[0] == "start" and not plots.glyphs_missing("".join(names))
    assert all(head_explorer.names_of(tokenizer, tokenizer.encode("$ x 中")))


def test_strange_text_is_drawn_too(parts):
    model, tokenizer, found, _ = parts
    panel = head_explorer.head_explorer(model, tokenizer, found, "$\\frac$ 中 <b> ☃")
    assert "attends most to" in panel.reading


@pytest.mark.parametrize("looks", [None, {}])
def test_a_model_of_another_text_has_heads_without_labels(looks):
    """A model of one's own text knows no tales, so nothing was measured on them."""
    text = "a small cat and a large cat and a dog\n" * 30
    tokenizer = Tokenizer.train(text, vocab_size=290)
    config = ModelConfig(vocab_size=290, dim=16, n_layers=2, n_heads=2, n_kv_heads=1, max_seq_len=32)
    panel = head_explorer.head_explorer(MiniLLM(config, seed=1), tokenizer, looks, "a small cat")
    assert panel.reading.startswith("Head 1·0. Here ‘cat’ attends most to ")
    panel.set(text="a dog " * 40)
    assert "The model reads 32 tokens" in panel.reading


def test_the_first_sentence_is_of_the_models_own_text(parts):
    """The English sentence takes 206 tokens of the Chinese starter: it opens with Chinese words."""
    model, tokenizer, looks, _ = parts
    panel = head_explorer.head_explorer(model, tokenizer, looks)
    text = panel.values["text"]
    assert "attends most to" in panel.reading and len(tokenizer.encode(text)) < 50
    assert text == head_explorer.SENTENCE or all(ord(letter) > 0x2E7F for letter in text)


def test_one_sentence_at_a_time_with_the_keys_that_matter(parts):
    model, tokenizer, _, text = parts
    panel = head_explorer.head_explorer(model, tokenizer, None, text, title="the course's starter")
    read = head_explorer.Text(text, model, tokenizer)
    assert panel._repr_mimebundle_()[0]["text/plain"].startswith("<head explorer, the course's starter: Head")
    for back in (0, 1, 15):
        panel.set(sentence=back, head=(1, 3))
        picture, _ = list(panel.built.values())[-1]
        rows, keys = list(picture.rows), picture.keys
        assert max(len(rows), len(keys)) <= 16
        assert picture.past.tolist() == [[key <= row for key in keys] for row in rows]
        weights = read.weights[1, 3][rows][:, keys]
        shown = picture.left.collections[0].get_array()
        assert np.ma.getmaskarray(shown).tolist() == (~picture.past).tolist()
        assert shown.filled(0) == pytest.approx(weights.numpy(), abs=1e-6)
        heads_max = read.weights[:, :, rows].amax((0, 1, 2))
        left_out = set(range(rows[-1] + 1)) - set(keys)
        assert all(heads_max[key] <= heads_max[keys].min() for key in left_out), "only the weakest keys are left out"
        names = [label.get_text() for label in picture.left.get_yticklabels()]
        assert names == [read.names[row] for row in rows]
    assert rows[0] == 0, "beyond the first sentence it is the first"
    assert "sentences; this is the first." in panel.reading


@pytest.mark.parametrize("length", [4, 16, 64])
def test_the_first_sentence_fits_a_short_context_and_a_small_vocabulary(length):
    tokenizer = Tokenizer.train("a small cat and a large cat and a dog\n" * 30, vocab_size=290)
    config = ModelConfig(vocab_size=290, dim=16, n_layers=1, n_heads=2, n_kv_heads=1, max_seq_len=length)
    for seed in range(3):
        panel = head_explorer.head_explorer(MiniLLM(config, seed=seed), tokenizer)
        assert "attends most to" in panel.reading, panel.values["text"]


def test_the_heat_map_shows_the_weights():
    ax = Figure().subplots()
    weights = torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    plots.draw_weights(ax, weights, ["$a", "b$"])
    shown = ax.collections[0].get_array()
    assert shown.mask.tolist() == [[False, True], [False, False]]
    assert shown.compressed().tolist() == pytest.approx([1.0, 0.3, 0.7])
    numbers = {
        (row, column): (line.get_marker(), line.get_color())
        for line in ax.lines
        for column, row in line.get_xydata().astype(int).tolist()
    }
    assert numbers == {(0, 0): ("$1.0$", "black"), (1, 0): ("$0.3$", "white"), (1, 1): ("$0.7$", "black")}
    assert ax.get_xlim() == (-0.5, 1.5) and ax.get_ylim() == (1.5, -0.5), "the first token above"
    plots.draw_weights(ax, torch.eye(17), [])
    assert not ax.lines and not ax.get_xticklabels()


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_the_cache_is_as_large_as_a_real_one(kv_heads):
    config = cache_quality.STARTER.with_(n_kv_heads=kv_heads)
    cache = KVCache(config, max_len=48, dtype=torch.float16)
    real = sum(tensor.nbytes for tensor in cache.k + cache.v)
    assert cache_quality.cache_bytes(kv_heads, 48) == real
    assert f"{real:,} bytes" in cache_quality.CacheQuality().draw(Figure(), kv_heads=kv_heads, tokens=48)


def test_the_panel_has_the_shape_of_the_table():
    model, _ = load_checkpoint(DATA / "starter-en")
    same = ("dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "tie_embeddings")
    assert all(getattr(model.config, name) == getattr(cache_quality.STARTER, name) for name in same)
    parameters = {row: ablations.measured()[row][0]["parameters"] for row in cache_quality.ROWS.values()}
    for heads, row in cache_quality.ROWS.items():
        assert parameters[row] == ModelConfig.with_(cache_quality.STARTER, n_kv_heads=heads).n_params


def test_the_quality_is_that_of_the_table():
    runs = [100 * run["share"] for run in ablations.measured()["one kv head"]]
    said = cache_quality.CacheQuality().draw(Figure(), kv_heads=1, tokens=256)
    assert f"{sum(runs) / 3:.1f} % above the floor, seeds {min(runs):.1f} to {max(runs):.1f}" in said
    assert "25% of what 4 need" in said and "1 kv head," in said
    assert "not measured" in cache_quality.CacheQuality().draw(Figure(), kv_heads=4, tokens=256)


def test_noise_is_called_noise(monkeypatch):
    def with_seeds(two, one):
        monkeypatch.setattr(cache_quality, "seeds", lambda heads: {2: two, 1: one}[heads])
        return cache_quality.CacheQuality().draw(Figure(), kv_heads=1, tokens=256)

    assert "is inside the spread" in with_seeds([5.0, 6.0, 7.0], [6.0, 7.0, 8.5])
    assert "is outside the spread" in with_seeds([5.0, 5.2, 5.5], [8.0, 8.2, 8.5])


def test_weight_and_use_are_drawn_beside_each_other():
    left, right = Figure().subplots(1, 2)
    lost = {"by zeros": [(0.1, 0.0, 0.2), (2.4, 2.0, 2.8)], "by the mean": [(0.1, 0.0, 0.2), (2.3, 1.9, 2.7)]}
    plots.draw_use(left, right, ["0·3", "1·2"], [0.9, 0.01], lost)
    assert [bar.get_width() for bar in left.patches] == [0.9, 0.01]
    dots = {bars.get_label(): bars.lines[0].get_xydata().round(2).tolist() for bars in right.containers}
    assert dots == {"by zeros": [[0.1, -0.15], [2.4, 0.85]], "by the mean": [[0.1, 0.15], [2.3, 1.15]]}
    ends = right.containers[0].lines[2][0].get_segments()
    assert [end.round(2).tolist() for end in ends] == [[[0.0, -0.15], [0.2, -0.15]], [[2.0, 0.85], [2.8, 0.85]]]
    assert left.get_ylim() == right.get_ylim()
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["0·3", "1·2"]
