"""Pictures and live pictures: what they show, that they work without a front end, and what a redraw costs."""

import base64
import configparser
import math
import re
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from foundry_lib import plots
from foundry_lib.lessons.checks import below, check_equal, within
from foundry_lib.panels.live_figure import LiveFigure
from foundry_lib.panels.loss_figure import draw_excess
from foundry_lib.plots.style import light

PNG = b"\x89PNG\r\n"


def test_running_mean():
    values = np.arange(50.0) ** 2
    expected = [values[max(0, i - 19) : i + 1].mean() for i in range(50)]
    assert np.allclose(plots.running_mean(values), expected) and len(plots.running_mean([])) == 0


def test_the_loss_plot_shows_what_it_is_given():
    ax = Figure().add_subplot()
    plots.draw_losses(ax, [1, 2, 3], [6.0, 5.0, 4.0], [0, 3], [6.9, 4.1], {"ln V": 6.93, "bigram": 4.5}, total=10)
    heights = {round(line.get_ydata()[0], 2) for line in ax.lines if len(set(line.get_ydata())) == 1}
    assert heights == {6.93, 4.5} and ax.get_xlim() == (0, 10)
    assert {text.get_text() for text in ax.texts} == {"ln V 6.93", "bigram 4.50"}
    assert ax.get_xlabel() == "step" and "nats" in ax.get_ylabel()


def test_labels_show_what_is_invisible():
    assert [plots.visible(piece) for piece in (" the", "the", "\n", "", "猫")] == ["␣the", "the", "↵", "∅", "猫"]
    assert plots.glyphs_missing("␣↵⇥∅") == []


def test_removed_bars_are_hatched_and_not_only_grey():
    ax = Figure().add_subplot()
    plots.draw_distribution(ax, ["a", "b", "c"], [0.6, 0.4, 0.0], kept=[True, True, False], outline=[0.5, 0.3, 0.2])
    hatched = [bar for bar in ax.patches if getattr(bar, "get_hatch", lambda: None)()]
    assert [bar.get_height() for bar in hatched] == [0.2]


@pytest.mark.filterwarnings("error")
def test_chinese_is_drawn_and_not_boxed():
    assert plots.cjk_fonts(), "the package's own font should be there"
    assert plots.glyphs_missing("满纸荒唐言 loss 的一是") == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert plots.glyphs_missing("a\U0010fffd") == ["\U0010fffd"]  # the question can be answered with yes


def test_a_live_figure_is_a_picture_without_a_front_end():
    figure = LiveFigure(name="three points")
    figure.axes.plot([1, 2, 3])
    figure.redraw()
    data, _ = figure._repr_mimebundle_()
    assert data["text/plain"] == "<three points>" and base64.b64decode(data["image/png"]).startswith(PNG)
    assert "application/vnd.jupyter.widget-view+json" in data
    before = figure.value
    figure.axes.plot([3, 2, 1])
    figure.redraw()
    assert figure.value != before


def sanitized(text: str) -> str:
    """Text as nbval compares it."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(Path(__file__).parent / "sanitize.cfg", encoding="ascii")
    for name in config.sections():
        text = re.sub(config[name]["regex"], config[name]["replace"], text)
    return text


def test_checks_show_the_own_number_and_can_fail(capsys):
    """Two measurements print lines that nbval finds equal; another expectation, tolerance or word it does not."""
    for value, bound in ((1.5234, 1.3), (1.5299, 1.2999)):
        within("val loss", value, 1.52, 0.05, "nats")
        below("val loss", value - 0.5, bound, "the bigram line")
        below("val loss", value - 0.5, 1.31, "1.31 nats")
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == [
        "val loss 1.523 (expected 1.52 ± 0.05 nats) ✓",
        "val loss 1.02 (expected below the bigram line, 1.3) ✓",
        "val loss 1.02 (expected below 1.31 nats) ✓",
    ]
    assert list(map(sanitized, out[:3])) == list(map(sanitized, out[3:])) and out[:2] != out[3:5]
    others = {"0.05": "0.06", "1.52 ±": "1.53 ±", "val": "training", "bigram": "unigram", "1.31": "1.32", "✓": "✗"}
    for old, new in others.items():
        line = next(line for line in out if old in line)
        assert sanitized(line) != sanitized(line.replace(old, new)), new
    for value in (1.58, 1.4, math.nan, math.inf):
        with pytest.raises(AssertionError, match="val loss: found .* run the cell that makes the model again"):
            within("val loss", value, 1.52, 0.05)
    for value in (1.3, 1.4, math.nan):
        with pytest.raises(AssertionError, match="not below the bigram line"):
            below("val loss", value, 1.3, "the bigram line")


def test_rows_and_costs_are_drawn_at_their_height():
    ax = Figure().subplots()
    plots.draw_rows(ax, {"whole": {"sum": 0.2, "gift": -0.1}, "without": {"sum": 1.5, "gift": 0.4}}, ["sum", "gift"])
    assert [bar.get_height() for bar in ax.patches] == [0.2, 0.0, 1.5, 0.4], "below the floor by chance is drawn as 0"
    assert len({bar.get_hatch() for bar in ax.patches}) == 2, "a hatch says what the colour says"
    plots.draw_costs(ax, ["a", "b"], [0.0, 1.0], [2.0, 1.5])
    assert [bar.get_height() for bar in ax.patches] == [2.0, 1.5, 0.0, 1.0] and ax.get_ylim()[1] > 2


def test_what_is_owed_is_never_cut_off_in_silence():
    ax = Figure(figsize=(4, 4.2)).subplots()
    draw_excess(ax, {"sum": 12.4, "gift": -0.1}, {"sum": 3.0, "gift": 2.0})
    FigureCanvasAgg(ax.figure).draw()
    assert [text.get_text() for text in ax.texts] == ["12 →"], "a bar beyond the axis says how long it is"
    legend, plan = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert not legend.overlaps(plan), "a mark of the legend among the rules' own is read as one rule more"
    label = ax.xaxis.label.get_window_extent()
    assert legend.y1 <= label.y0 and legend.y0 >= 0 and legend.x0 >= 0, "and it covers no words and is seen whole"


def contrast(one: str, other: str) -> float:
    """Contrast of two colours by WCAG, from 1 to 21."""
    high, low = sorted((light(matplotlib.colors.to_rgb(colour)) for colour in (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_and_lines_read_on_the_card_and_the_card_on_both_themes():
    """Small text needs 4.5 : 1 and a line 3 : 1. No transparent ink has 4.5 against white and JupyterLab's #111111."""
    greys = [f"#{level:02x}{level:02x}{level:02x}" for level in range(256)]
    assert max(min(contrast(grey, "#ffffff"), contrast(grey, "#111111")) for grey in greys) < 4.5
    assert min(contrast(colour, plots.CARD) for colour in (plots.INK, plots.GREY)) >= 4.5
    lines = set(plots.ROLES.values()) - {plots.SKY}
    assert min(contrast(colour, plots.CARD) for colour in lines) >= 3
    assert contrast(plots.CARD, "#ffffff") < 1.3 and contrast(plots.CARD, "#111111") > 4.5
    figure = Figure()
    ax = figure.add_subplot()
    ax.plot([1, 2], label="line")
    legend, drawn = ax.legend(), [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels()]
    assert {figure.get_facecolor(), ax.get_facecolor()} == {matplotlib.colors.to_rgba(plots.CARD)}
    assert {text.get_color() for text in (*drawn, *legend.get_texts())} == {plots.INK}
    assert ax.get_axisbelow(), "bars stand before the grid"


def test_a_live_picture_lies_on_the_same_card():
    figure = LiveFigure(1, 1)
    figure.redraw()
    assert [round(255 * part) for part in matplotlib.colors.to_rgb(plots.CARD)] == figure.sheet.pixels()[
        0, 0, :3
    ].tolist()


def test_a_table_has_its_lines_in_html_and_as_text(monkeypatch):
    shown = []
    monkeypatch.setattr(plots.output, "display", lambda data, **options: shown.append(data))
    plots.show_table("row   <sum>\nwhole  0.25")
    assert shown[0]["text/plain"] == "row   <sum>\nwhole  0.25"
    assert "white-space:pre;" in shown[0]["text/html"] and "row   &lt;sum&gt;\nwhole" in shown[0]["text/html"]


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ([1.0, 2.0], [1.0, 2.1], r"max difference 0.1, allowed 1e-06. At index \(1,\): 2 and 2.1"),
        ([math.nan], [math.nan], "max difference nan"),
        ([1.0], [1.0, 2.0], r"the shapes differ, \(1,\) and \(2,\)"),
        (1.0, 1.1, "max difference 0.1, allowed 1e-06. 1 and 1.1"),
    ],
)
def test_two_forms_that_differ_are_not_called_equal(ours, theirs, words):
    with pytest.raises(AssertionError, match=f"two forms: {words}"):
        check_equal("two forms", ours, theirs)


def test_two_forms_that_are_equal_print_their_difference(capsys):
    check_equal("two forms", torch.tensor([1.0, math.inf]), [1.0000002, math.inf])
    assert capsys.readouterr().out == "two forms: max difference 2e-07 (allowed 1e-06) ✓\n"
