"""The gate landscape: its numbers against other forms, its controls, and what it says of bad input."""

import math
import re

import pytest
import torch
from matplotlib.figure import Figure

from foundry_lib import MiniLLM, ModelConfig, Tokenizer
from foundry_lib.analysis import neurons as units
from foundry_lib.panels import gate_landscape as gl

TEXTS = ["red hat blue hat red hat two hats", "two red hats and three blue hats", "a hat and a hat and a hat"] * 3
KINDS = {"colours": {"red", "blue"}, "numbers": {"two", "three"}, "stars": {"Sirius"}}


@pytest.fixture(scope="module")
def read():
    """A model of random weights, its tokenizer, and what its last layer noted of TEXTS."""
    text = "\n".join(TEXTS)
    tokenizer = Tokenizer.train(text, vocab_size=290)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, dim=16, n_layers=2, n_heads=2, n_kv_heads=1, max_seq_len=64)
    model = MiniLLM(config, seed=2)
    return model, tokenizer, units.gather(model, tokenizer, TEXTS, layer=-1, kinds=KINDS)


def test_the_product_is_the_formula():
    for a, b in ((-4.0, 10.0), (4.0, 2.0), (0.0, 5.0)):
        silu = a / (1 + math.exp(-a))
        assert units.product(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(silu * b, abs=1e-6)
    assert units.product(torch.tensor(-4.0), torch.tensor(10.0), "ReLU").item() == 0
    normal = 0.5 * (1 + math.erf(1.5 / math.sqrt(2)))
    assert units.product(torch.tensor(1.5), torch.tensor(2.0), "GELU").item() == pytest.approx(3 * normal, abs=1e-6)


def test_what_was_noted_is_what_the_feed_forward_sees(read):
    model, tokenizer, neurons = read
    ids = torch.tensor([tokenizer.encode(TEXTS[1], bos=True)])
    layer, x = model.layers[1], model.tok_embeddings(ids)
    x = model.layers[0](x, model.freqs_cis[:, : ids.shape[1]])
    h = x + layer.attention(layer.attention_norm(x), model.freqs_cis[:, : ids.shape[1]])
    seen = layer.ffn_norm(h)[0, 1:]
    first = len(tokenizer.encode(TEXTS[0]))
    here = slice(first, first + len(seen))
    assert torch.allclose(neurons.gate[here], seen @ layer.feed_forward.w_gate.weight.T, atol=1e-5)
    assert torch.allclose(neurons.up[here], seen @ layer.feed_forward.w_up.weight.T, atol=1e-5)
    assert neurons.words[here] == [tokenizer.decode([i]).strip() for i in ids[0, 1:].tolist()]
    assert neurons.layer == 1 and len(neurons.words) == len(neurons.gate) == len(neurons.up)


def test_no_hook_stays_behind(read):
    model, tokenizer, _ = read
    with pytest.raises(ValueError, match="layers 0 to 1; there is no layer 2"):
        units.gather(model, tokenizer, TEXTS, layer=2)
    with pytest.raises(ValueError, match="None of the .* words"):
        units.gather(model, tokenizer, TEXTS, kinds={"stars": {"Sirius"}})
    assert not [module for module in model.modules() if module._forward_hooks]


def test_a_kind_that_no_text_has_is_left_out(read):
    neurons = read[2]
    assert list(neurons.kinds) == ["colours", "numbers"]
    marked = {word for word, yes in zip(neurons.words, neurons.kinds["colours"].tolist(), strict=True) if yes}
    assert marked == KINDS["colours"] & set(neurons.words)


def test_selectivity_counts_pairs(read):
    neurons = read[2]
    for kind in neurons.kinds:
        chosen = neurons.kinds[kind]
        for neuron in (0, 5, neurons.most_selective(kind)[0]):
            gate = neurons.gate[:, neuron]
            pairs = [a > b for a in gate[chosen].tolist() for b in gate[~chosen].tolist()]
            ties = [a == b for a in gate[chosen].tolist() for b in gate[~chosen].tolist()]
            assert not any(ties)
            assert neurons.selectivity(kind)[neuron].item() == pytest.approx(sum(pairs) / len(pairs), abs=1e-9)
    ranked = neurons.selectivity("colours")[neurons.most_selective("colours")]
    assert (ranked.diff() <= 0).all()


def test_the_top_words_have_the_widest_gates(read):
    neurons = read[2]
    means = {}
    for word in set(neurons.words):
        places = [i for i, other in enumerate(neurons.words) if other == word]
        if len(places) >= units.OFTEN:
            means[word] = neurons.gate[places, 3].mean().item()
    assert neurons.top_words(3) == sorted(means, key=means.get, reverse=True)[:5]


def test_the_controls_change_the_reading(read, capsys):
    neurons = read[2]
    panel = gl.gate_landscape(neurons)
    readings = [panel.reading]
    for change in (dict(rank=2), dict(kind="numbers"), dict(rank=1), dict(activation="ReLU")):
        panel.set(**change)
        readings.append(panel.reading)
        assert capsys.readouterr().out.split() == panel.reading.split()
    assert len(set(readings)) == len(readings)
    order = neurons.most_selective("colours")
    assert f"neuron {order[0]}, number 1 for colours" in readings[0]
    assert f"neuron {order[1]}, number 2 for colours" in readings[1]
    neuron = neurons.most_selective("numbers")[0]
    share = 100 * neurons.selectivity("numbers")[neuron].item()
    assert f"neuron {neuron}, number 1 for numbers" in readings[3] and f"in {share:.0f} of 100 pairs" in readings[3]
    assert ", ".join(neurons.top_words(neuron)) in readings[3]


def test_the_share_that_nearly_nothing_passes_at(read):
    neurons = read[2]
    neuron, chosen = neurons.most_selective("colours")[0], neurons.kinds["colours"]
    reading = gl.Landscape(neurons).draw(Figure(), kind="colours", rank=1, activation="ReLU")
    products = neurons.gate[:, neuron].relu() * neurons.up[:, neuron]
    shares = [100 * sum(abs(p) < 0.1 for p in products[group].tolist()) / group.sum() for group in (chosen, ~chosen)]
    found = [int(number) for number in re.findall(r"(\d+) % of", reading)]
    assert found == [round(share.item()) for share in shares], reading


@pytest.mark.parametrize("activation", units.GATES)
def test_the_lines_and_their_numbers_are_where_the_formula_says(activation):
    width, height = 6, 11
    ax = Figure().subplots()
    gl.draw_contours(ax, width, height, activation)
    lines = [torch.from_numpy(points) for points in ax.collections[0].get_segments()]
    levels = [level for level in gl.LEVELS for _ in ("right", "left")]
    for level, (gate, value) in zip(levels, (points.T for points in lines), strict=True):
        on_map = value.abs() <= height
        found = units.product(gate, value, activation)[on_map]
        assert torch.allclose(found, torch.full_like(found, level), rtol=1e-4)
        if gate[-1] > 0:  # from the edge of the map on the right up or down to the edge above or below
            assert gate[on_map].max() == width and value.abs().max() > height and on_map.sum() > 200
    numbered = [(float(text.get_text().replace("−", "-")), *text.get_position()) for text in ax.texts]
    for level, gate, value in numbered:
        there = units.product(torch.tensor(gate), torch.tensor(value), activation).item()
        assert there == pytest.approx(level, rel=1e-3) and abs(gate) < width and abs(value) < height
    assert {level for level, gate, _ in numbered if gate > 0} == set(gl.LEVELS)
    left = {level for level, gate, _ in numbered if gate < 0}
    assert left == {"SiLU": {-2, -1, -0.3, 0.3, 1, 2}, "GELU": {-1, -0.3, 0.3, 1}, "ReLU": set()}[activation]


def test_a_word_beyond_the_map_stands_on_its_edge_and_is_counted(read):
    neurons = read[2]
    places = torch.arange(len(neurons.words))
    gate, value = neurons.gate.clone(), neurons.up.clone()
    neuron = neurons.most_selective("colours")[0]
    gate[places == 3, neuron], value[places == 5, neuron] = -1000.0, 2000.0
    far = units.Neurons(neurons.layer, neurons.words, gate, value, neurons.kinds)
    assert far.extent == pytest.approx(neurons.extent, rel=0.2), "one neuron in 64 does not make the map larger"
    picture, figure = gl.Landscape(far), Figure()
    reading = picture.draw(figure, kind="colours", rank=far.most_selective("colours").index(neuron) + 1)
    assert reading.endswith(f" Of all {len(places)} words 2 lie beyond the map and stand on its edge.")
    drawn = [points.get_data() for points in picture.points]
    (_, right), (_, top) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    assert min(x.min() for x, _ in drawn) == pytest.approx(-right) and max(y.max() for _, y in drawn) == pytest.approx(
        top
    )
    assert sum(len(x) for x, _ in drawn) == len(places) and not any(points.get_clip_on() for points in picture.points)
    assert "beyond" not in gl.Landscape(neurons).draw(Figure(), kind="colours", rank=40)


def test_an_unknown_kind_is_refused(read):
    neurons = read[2]
    with pytest.raises(ValueError, match="no 'stars'; there are colours, numbers"):
        gl.gate_landscape(neurons, "stars")


def test_the_shipped_tales_have_words_of_every_kind():
    from foundry_lib import tales

    for language in ("en", "zh"):
        words = {word for tale in tales.generate(language, 1, 20) for word in tale.words}
        assert all(words & members for members in units.word_kinds(language).values())
