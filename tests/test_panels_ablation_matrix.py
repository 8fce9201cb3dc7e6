"""The matrix: its numbers are those of the shipped runs, its stars those of the rule, and each control moves it."""

import json
from statistics import fmean

import pytest
from matplotlib.figure import Figure

from foundry_lib import ablations
from foundry_lib.panels.ablation_matrix import PLACE, ablation_matrix, columns, draw, draw_matrix

RUNS = [json.loads(line) for line in ablations.RUNS.read_text("utf-8").splitlines()]


def shipped(row, column):
    """Straight from the file, one value a seed."""
    runs = [run for run in RUNS if run["kind"] == "ablation" and run["row"] == row]
    return [100 * run["share"] if column == "all, %" else run["by rule"][column] for run in runs]


def test_every_cell_is_the_mean_of_the_shipped_seeds():
    ax = Figure().subplots()
    draw_matrix(ax)
    texts = {tuple(text.get_position()): text.get_text() for text in ax.texts}
    rows = [label.get_text() for label in ax.get_yticklabels()]
    hatched = {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in ax.patches}
    assert len(texts) == len(rows) * len(columns()) == 70
    for y, row in enumerate(rows):
        for x, column in enumerate(columns()):
            values, base = shipped(row, column), shipped("whole model", column)
            digits = 1 if column == "all, %" else 2
            mean, half = texts[x, y].split("\n± ")
            assert mean.rstrip("★") == f"{max(0, fmean(values)):.{digits}f}"
            assert half == f"{(max(values) - min(values)) / 2:.{digits}f}"
            assert mean.endswith("★") == (abs(fmean(values) - fmean(base)) > 3 * (max(base) - min(base))), (row, column)
            assert mean.endswith("★") == ((x, y) in hatched)


@pytest.mark.parametrize("row, column", [("no RoPE", "mirror"), ("one kv head", "all, %"), ("no norm", "sum")])
def test_the_dots_are_the_seeds_and_the_line_is_the_border(row, column):
    figure = Figure()
    draw(figure, row, column)
    lines = figure.axes[2].lines
    base, other = shipped("whole model", column), shipped(row, column)
    assert lines[0].get_ydata().tolist() == pytest.approx(base) and lines[2].get_ydata().tolist() == pytest.approx(
        other
    )
    assert lines[4].get_ydata()[0] == pytest.approx(fmean(base) + 3 * (max(base) - min(base)))
    assert {lines[0].get_marker(), lines[2].get_marker()} == {"o", "s"}


def test_the_reading_follows_the_controls():
    panel = ablation_matrix()
    first = panel.reading
    assert "mirror: the whole model owes 0.01" in first and first.endswith("more than 3, a difference.")
    panel.set(row="one kv head", column="all, %")
    assert "8.0 % above the floor (seeds 5.3 to 11.9)" in panel.reading and "so none is seen." in panel.reading
    panel.set(row="no norm")
    assert panel.reading.endswith("so none is seen, though no seed of one reaches the other.")
    panel.set(row="whole model")
    assert panel.reading.endswith("It is the row that all others are compared with.")


def test_the_frame_lies_on_the_chosen_cell():
    figure = Figure()
    draw(figure, "no MLP", "gift")
    (patch,) = figure.axes[1].patches
    rows = list(ablations.measured())
    assert patch.get_xy() == (columns().index("gift") - 0.5, rows.index("no MLP") - 0.5)
    x, y, width, height = figure.axes[1].get_position().bounds
    assert (x / 0.8, width / 0.8) == pytest.approx((PLACE[0], PLACE[2])), "over the very place in the picture"
