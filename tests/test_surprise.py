"""Surprise is −log p: of the model, by hand over its logits, and of the grammar, exactly; and it is drawn as it is."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from foundry_lib import ConfigError, plots, tales
from foundry_lib.analysis.quality import tale_losses
from foundry_lib.analysis.surprise import grammar_surprise, surprise
from foundry_lib.training.checkpoint import load_checkpoint

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="module", params=["en", "zh"])
def starter(request):
    return *load_checkpoint(DATA / f"starter-{request.param}"), request.param


def test_the_sum_is_minus_log_of_the_texts_probability(starter):
    model, tokenizer, language = starter
    tale = tales.generate(language, 12)[0]
    pieces, nats = surprise(model, tokenizer, tale.text)
    assert "".join(pieces) == tale.text and len(nats) == len(pieces)
    ids = torch.tensor([tokenizer.encode(tale.text, bos=True)])
    with torch.no_grad():
        logs = model(ids[:, :-1])[0][0].double().log_softmax(-1)
    by_hand = -logs.gather(1, ids[0, 1:, None])[:, 0].numpy()
    assert np.allclose(nats, by_hand, atol=1e-5)
    assert nats.sum() == pytest.approx(-math.log(np.exp(-by_hand).prod()), abs=1e-3)
    assert np.allclose(nats, tale_losses(model, tokenizer, [tale])[0][:-1], atol=1e-5), "all but the end sign"


def test_the_grammar_pays_what_the_tale_says_and_forbids_a_slip(starter):
    _, tokenizer, language = starter
    tale = tales.generate(language, 12)[0]
    assert np.allclose(grammar_surprise(tokenizer, tale.text, language), [-p for p in tale.word_log_probs], atol=1e-4)
    place = next(index for index, rule in enumerate(tale.rules) if rule == "binding")
    wrong = next(part for index, part in enumerate(tale.parts) if part not in tale.parts[place : place + 1] and index)
    slip = "".join([*tale.parts[:place], wrong, *tale.parts[place + 1 :]])
    costs = grammar_surprise(tokenizer, slip, language)
    assert costs[place] == math.inf and all(cost < 20 for cost in costs[:place])
    assert set(costs[place + 1 :]) == {None}


def test_the_slip_is_what_surprises_most(starter):
    model, tokenizer, language = starter
    if language == "en":
        told = tales.generate("en", seed=5)[0].text
        pieces, nats = surprise(model, tokenizer, told.replace("took its purple kite", "took its purple drum"))
        assert pieces[nats.argmax()] == " drum" and nats.max() > 2 * np.sort(nats)[-2]


def test_a_text_that_cannot_be_read_is_refused(starter):
    model, tokenizer, _ = starter
    longest = model.config.max_seq_len
    assert len(surprise(model, tokenizer, "." * longest)[1]) == longest
    for text in ("", "." * (longest + 1)):
        with pytest.raises(ConfigError, match=f"of 1 to {longest}"):
            surprise(model, tokenizer, text)


def drawn(pieces, nats, grammar=None, width=9):
    figure = Figure(figsize=(width, 3))
    plots.draw_strip(figure, pieces, nats, grammar)
    ax = figure.axes[0]
    return figure, ax.patches, [text.get_text() for text in ax.texts]


@pytest.mark.filterwarnings("error")
def test_a_strip_shows_every_token_and_wraps():
    pieces, nats = ["从前", " cat", "\n"] * 29 + ["$\\frac$", "$\\", "^$"], np.linspace(0, 9.3, 90)  # no mathematics
    figure, bars, texts = drawn(pieces, nats)
    FigureCanvasAgg(figure).draw()
    assert len(bars) == 90 and "$\\frac$" in texts
    assert texts.count("从前") == texts.count("␣cat") == texts.count("↵") == 29
    lines = {round(bar.get_y() + bar.get_height() / 2) for bar in bars}
    assert len(lines) == -min(lines) + 1 > 2
    right = figure.axes[0].get_xlim()[1]
    assert all(bar.get_x() + bar.get_width() <= right for bar in bars)
    assert figure.get_size_inches()[1] == pytest.approx(0.46 * len(lines) + 0.75)
    assert "surprise (nats)" in figure.axes[1].get_xlabel() and figure.axes[1].get_xlim() == (0, 10)


def test_colour_rises_and_a_number_says_it_again():
    figure, bars, texts = drawn(["a", "b", "c"], [0.2, 1.4, 7.0], [0.1, None, math.inf])
    bright = [sum(bar.get_facecolor()[:3]) for bar in bars]
    assert bright[0] < bright[1] < bright[2] and texts == ["a", "b", "1.4", "c", "7.0 (∞)"]
    assert [bar.get_linewidth() for bar in bars].index(2.5) == 2, "the largest has a frame"
    assert drawn(["a", "b"], [1.0, 5.0], [1.0, 4.4])[2] == ["a", "1.0", "b", "5.0 (4.4)"]
    inks = [text.get_color() for text in figure.axes[0].texts]
    assert inks[0] == "white" and inks[-1] == "black"
    assert plots.ink_on((1, 1, 1)) == "black" and plots.ink_on((0.4, 0.4, 0.4, 1)) == "white"
