"""Every picture: its labels can be read, nothing is cut off, and text and picture show the same state."""

import base64
from functools import cache

import numpy as np
import pytest
import torch
from helpers import ROOT
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from foundry_lib import plots, tales
from foundry_lib.analysis.neurons import gather
from foundry_lib.analysis.quality import Quality
from foundry_lib.panels import clock_wall, gate_landscape, hands, token_ruler, volume_knob
from foundry_lib.panels.ablation_matrix import ablation_matrix
from foundry_lib.panels.budget import budget
from foundry_lib.panels.cache_quality import cache_quality
from foundry_lib.panels.head_explorer import head_explorer
from foundry_lib.panels.loss_figure import draw_excess
from foundry_lib.panels.playground import playground
from foundry_lib.training.checkpoint import load_checkpoint

SMALLEST = 8  # points


@cache
def starter():
    return load_checkpoint(ROOT / "data" / "starter-en", "cpu")


def landscape():
    return gate_landscape.gate_landscape(gather(*starter(), [tale.text for tale in tales.generate("en", 5, 8)]))


PANELS = {  # a panel, and a state that a later cell sets
    "volume knob": (volume_knob.volume_knob, dict(gain=1000, offset=1)),
    "clock wall": (clock_wall.clock_wall, dict(m=40, shift=100)),
    "hands": (hands.hands, dict(base=100, context=64)),
    "head explorer": (lambda: head_explorer(*starter(), title="the course's starter"), dict(head=(1, 2), silent=True)),
    "kv heads": (cache_quality, dict(kv_heads=1, tokens=8192)),
    "gate landscape": (landscape, dict(kind="names", rank=3)),
    "budget": (budget, dict(preset="tiny", vocab_size=512, n_kv_heads=1)),
    "token ruler": (lambda: token_ruler.token_ruler("naïve 小猫 names"), dict(vocabulary="2,048 entries")),
    "playground": (lambda: playground(*starter(), "By the sea lived Clever", "en"), dict(temperature=2.0, top_k=5)),
    "ablation matrix": (ablation_matrix, dict(row="no norm", column="gift")),
}


def unreadable(figure: Figure) -> list[str]:
    """The texts of a drawn figure that are smaller than SMALLEST, or reach over its edge."""
    faults, page, not_drawn = [], figure.bbox, set()
    for axis in [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.majorTicks, *axis.minorTicks):
            if not (axis.axes.axison and low <= tick.get_loc() <= high):  # kept, but not drawn
                not_drawn |= {tick.label1, tick.label2}
    for text in figure.findobj(Text):
        if not (text.get_text().strip() and text.get_visible()) or text in not_drawn:
            continue
        box = text.get_window_extent()
        outside = box.x0 < page.x0 - 2 or box.y0 < page.y0 - 2 or box.x1 > page.x1 + 2 or box.y1 > page.y1 + 2
        if text.get_fontsize() < SMALLEST or (outside and text.get_clip_box() is None):  # a title has none, and clip_on
            faults.append(f"{text.get_text()!r}: {text.get_fontsize():g} points{', cut off' * bool(outside)}")
    return faults


def stored(panel) -> tuple[str, bytes]:
    data, metadata = panel._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == data["text/plain"], "the text of the picture in a page of HTML"
    assert "moves" not in metadata
    return data["text/plain"], base64.b64decode(data["image/png"])


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_legible_and_its_picture_is_the_one_that_its_text_describes(name):
    make, later = PANELS[name]
    panel = make()
    first = stored(panel)
    assert unreadable(panel.live.figure) == []
    panel.set(**later)
    second = stored(panel)
    assert unreadable(panel.live.figure) == []
    assert first[0] != second[0] and first[1] != second[1]
    fresh = make()
    fresh.set(**later)
    assert stored(fresh) == second, "the picture and the text come from the values alone"
    again = {key: make().values[key] for key in later}
    fresh.set(**again)
    assert stored(fresh) == first


def quality(valid: int) -> Quality:
    return Quality(40, valid, valid, 0, {}, {}, {}, [])


PLOTS = {
    "losses": lambda ax: plots.draw_losses(ax, [1, 2], [6.0, 5.0], [0, 2], [6.9, 5.1], {"ln V": 6.9, "floor": 0.4}),
    "runs": lambda ax: plots.draw_runs(ax, {"a": [([1, 2], [3.0, 2.0])]}, "step", "loss"),
    "rows": lambda ax: plots.draw_rows(ax, {"a": {"sum": 1.0}, "b": {"sum": 2.0}}, ["sum"]),
    "distribution": lambda ax: plots.draw_distribution(ax, ["␣a", "␣b"], [0.7, 0.3], [True, False], [0.6, 0.4]),
    "costs": lambda ax: plots.draw_costs(ax, ["a", "cat"], [0.1, 1.0], [2.0, 1.5]),
    "weights": lambda ax: plots.draw_weights(ax, torch.eye(16), ["crocodile"] * 16),
    "use": lambda ax: plots.draw_use(ax, ax.figure.add_subplot(2, 2, 4), ["0·0"], [0.9], {"zeros": [(1, 0, 2)]}),
    "excess": lambda ax: draw_excess(ax, {"sum": 12.4, "gift": 0.1}, {"sum": 3.0, "gift": 2.0}),
    "quality": lambda ax: plots.draw_quality(ax.figure, {"top_k": {1: quality(3), 50: quality(30)}}),
    "strip": lambda ax: plots.draw_strip(ax.figure, ["Once", " there"], np.array([2.0, 9.0]), [1.5, np.inf]),
    "grid": lambda ax: clock_wall.draw_grid(ax, clock_wall.score_grid("rope", 10), "RoPE"),
    "contours": lambda ax: gate_landscape.draw_contours(ax, 6, 12),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_legible(name):
    figure = Figure(figsize=(4.75, 4.6) if name == "grid" else (7, 4))
    PLOTS[name](figure.subplots())
    FigureCanvasAgg(figure).draw()
    assert unreadable(figure) == []


def test_a_figure_is_shown_with_its_reading(monkeypatch):
    shown = []
    monkeypatch.setattr("foundry_lib.plots.output.display", lambda *args, **more: shown.append((args, more)))
    figure = Figure(figsize=(2, 1))
    figure.text(0.5, 0.5, "a")
    plots.show(figure, "one letter")
    ((data,), more), *others = shown
    assert data["text/plain"] == more["metadata"]["image/png"]["alt"] == "one letter" and more["raw"] and not others
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
