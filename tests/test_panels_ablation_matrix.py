"""The matrix: its numbers are those of the shipped runs, its stars those of the rule, and each control moves it."""

import json
from statistics import fmean

import pytest
from matplotlib.figure import Figure

from foundry_lib import ConfigError
from foundry_lib.experiments import ablations
from foundry_lib.panels.ablation_matrix import Matrix, ablation_matrix, columns, draw_matrix

RUNS = [json.loads(line) for line in ablations.RUNS.read_text("utf-8").splitlines()]


def shipped(row, column):
    """Straight from the file, one value a seed."""
    runs = [run for run in RUNS if run["kind"] == "ablation" and run["row"] == row]
    return [100 * run["share"] if column == "all, %" else run["by rule"][column] for run in runs]


def test_every_cell_is_the_mean_of_the_shipped_seeds():
    ax = Figure().subplots()
    draw_matrix(ax)
    texts = {(text.get_position()[0], round(text.get_position()[1], 2)): text for text in ax.texts}
    rows = [label.get_text() for label in ax.get_yticklabels()]
    bars = {(round(bar.get_x() + 0.47), round(bar.get_y() + 0.43)): bar.get_width() / 0.94 for bar in ax.patches}
    assert len(texts) == 2 * len(bars) == 2 * len(rows) * len(columns()) == 140
    for x, column in enumerate(columns()):
        most = max(fmean(shipped(row, column)) for row in rows)
        for y, row in enumerate(rows):
            values, base = shipped(row, column), shipped("whole model", column)
            digits = 1 if column == "all, %" else 2
            mean, half = texts[x, round(y - 0.18, 2)], texts[x, round(y + 0.23, 2)]
            star = "★" if abs(fmean(values) - fmean(base)) > 3 * (max(base) - min(base)) else ""
            assert mean.get_text() == f"{max(0, fmean(values)):.{digits}f}{star}", (row, column)
            assert half.get_text() == f"± {(max(values) - min(values)) / 2:.{digits}f}"
            assert bars[x, y] == pytest.approx(max(0, fmean(values)) / most), "a bar says what the number says"


@pytest.mark.parametrize("row, column", [("no RoPE", "mirror"), ("one kv head", "all, %"), ("no norm", "sum")])
def test_the_dots_are_the_seeds_and_the_line_is_the_border(row, column):
    figure, picture = Figure(), Matrix()
    picture.draw(figure, row=row, column=column)
    base, other = shipped("whole model", column), shipped(row, column)
    border = fmean(base) + 3 * (max(base) - min(base))
    largest = max(*base, *other, border)
    for seeds, mean, values in zip(picture.seeds, picture.means, (base, other), strict=True):
        assert [largest * height for height in seeds.get_ydata()] == pytest.approx(values)
        assert [largest * height for height in mean.get_ydata()] == pytest.approx(2 * [fmean(values)])
    assert largest * picture.border.get_ydata()[0] == pytest.approx(border)
    assert {seeds.get_marker() for seeds in picture.seeds} == {"o", "s"}
    assert picture.largest.get_text() == f"{largest:.{1 if column == 'all, %' else 2}f}"
    assert (picture.column.get_text(), picture.row.get_text()) == (column, row)
    low, high = figure.axes[1].get_ylim()
    assert low < min(*base, *other) / largest and high > 1


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
    figure, picture = Figure(), Matrix()
    picture.draw(figure, row="no MLP", column="gift")
    rows = list(ablations.measured())
    assert picture.frame.get_xy() == (columns().index("gift") - 0.5, rows.index("no MLP") - 0.5)
    assert picture.frame.axes is figure.axes[0] and len(figure.axes[0].texts) == 140


def test_some_rows_are_drawn_alone_after_the_whole_model():
    panel, figure = ablation_matrix(["no MLP", "one layer"]), Figure()
    picture = Matrix(("whole model", "no MLP", "one layer"))
    assert "no MLP" not in panel.reading and "one layer owes" in panel.reading
    picture.draw(figure, row="one layer", column="sum")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["whole model", "no MLP", "one layer"]
    assert picture.frame.get_xy() == (columns().index("sum") - 0.5, 1.5)
    with pytest.raises(ConfigError, match="There is no row .'one head'."):
        ablation_matrix(["one head"])
