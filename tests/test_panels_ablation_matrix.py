"""The matrix: its numbers are those of the shipped runs, its stars those of the tests, and each control moves it."""

import json
from statistics import fmean

import pytest
from matplotlib.figure import Figure
from scipy import stats

from foundry_lib import ConfigError
from foundry_lib.analysis.statistics import holm
from foundry_lib.experiments import ablations
from foundry_lib.panels.ablation_matrix import Matrix, ablation_matrix, columns, draw_matrix

RUNS = [json.loads(line) for line in ablations.RUNS.read_text("utf-8").splitlines()]
ROWS = ("whole model", "no norm", "no RoPE", "no MLP", "one kv head", "no attention")
SHOWN = ["all, %", "binding", "mirror", "gift"]


def shipped(row, column):
    """Straight from the file, one value per seed."""
    runs = [run for run in RUNS if run["kind"] == "ablation" and run["row"] == row]
    return [100 * run["share"] if column == "all, %" else run["by rule"][column] for run in runs]


def test_every_cell_is_the_mean_of_the_shipped_seeds_and_the_stars_are_those_of_the_tests():
    ax, arrows, stars = Figure().subplots(), 0, 0
    draw_matrix(ax, ROWS, SHOWN)
    texts = {(text.get_position()[0], round(text.get_position()[1] + 0.12)): text.get_text() for text in ax.texts}
    bars = {(round(bar.get_x() + 0.43), round(bar.get_y())): bar.get_width() / 0.86 for bar in ax.patches}
    assert len(texts) == len(bars) == len(ROWS) * len(SHOWN)
    for x, column in enumerate(SHOWN):
        full = sorted(fmean(shipped(row, column)) for row in ROWS)[-2]
        base = shipped("whole model", column)
        single = [stats.ttest_ind(shipped(row, column), base, equal_var=False).pvalue for row in ROWS[1:]]
        for y, (row, p) in enumerate(zip(ROWS, [1.0, *holm(single)], strict=True)):
            mean, digits = fmean(shipped(row, column)), 1 if column == "all, %" else 2
            assert texts[x, y] == f"{max(0, mean):.{digits}f}{'★' if p < 0.05 else ''}", (row, column)
            assert bars[x, y] == pytest.approx(min(1, max(0, mean) / full)), "a bar says what the number says"
            arrows, stars = arrows + (mean > full), stars + (p < 0.05)
    assert sum(line.get_marker() == ">" for line in ax.lines) == arrows > 0, "a bar that is cut says so"
    assert stars > 3


@pytest.mark.parametrize("row, column", [("no RoPE", "mirror"), ("one kv head", "all, %"), ("no norm", "gift")])
def test_the_dots_are_the_seeds_and_the_line_is_the_interval(row, column):
    figure, picture = Figure(), Matrix(ROWS, SHOWN)
    picture.draw(figure, row=row, column=column)
    base, other = shipped("whole model", column), shipped(row, column)
    largest = max(*base, *other)
    for seeds, values in zip(picture.seeds, (base, other), strict=True):
        assert [largest * height for height in seeds.get_ydata()] == pytest.approx(values)
    interval = stats.ttest_ind(other, base, equal_var=False).confidence_interval(0.95)
    ends = [fmean(base) + end for end in interval]
    assert [largest * height for height in picture.interval.get_ydata()] == pytest.approx(ends)
    assert largest * picture.whole.get_ydata()[0] == pytest.approx(fmean(base))
    assert {seeds.get_marker() for seeds in picture.seeds} == {"o", "s"}
    assert picture.largest.get_text() == f"{largest:.{1 if column == 'all, %' else 2}f}"
    assert (picture.column.get_text(), picture.row.get_text()) == (column, row)


def test_the_reading_follows_the_controls():
    panel = ablation_matrix()
    assert "mirror: the whole model has 0.01 nats per word" in panel.reading
    assert panel.reading.endswith("a difference.")
    panel.set(row="one kv head", column="all, %")
    assert "(seeds 4.8, 6.8, 8.6)" in panel.reading and panel.reading.endswith("we cannot claim a difference.")
    panel.set(row="whole model")
    assert panel.reading.endswith("All other rows are compared with it.")


def test_the_frame_lies_on_the_chosen_cell():
    figure, picture = Figure(), Matrix()
    picture.draw(figure, row="no MLP", column="gift")
    rows = list(ablations.measured())
    assert picture.frame.get_xy() == (columns().index("gift") - 0.5, rows.index("no MLP") - 0.5)
    assert picture.frame.axes is figure.axes[0] and len(figure.axes[0].texts) == len(rows) * len(columns())


def test_some_rows_and_columns_are_drawn_alone_after_the_whole_model():
    panel, figure = ablation_matrix(["no MLP", "one layer"], ["all, %", "sum"]), Figure()
    picture = Matrix(("whole model", "no MLP", "one layer"), ("all, %", "sum"))
    assert "no MLP" not in panel.reading and "one layer has" in panel.reading and panel.reading.startswith("sum: ")
    assert "corrected for 2 comparisons" in panel.reading
    picture.draw(figure, row="one layer", column="sum")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["whole model", "no MLP", "one layer"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["all, %", "sum"]
    assert picture.frame.get_xy() == (0.5, 1.5)
    with pytest.raises(ConfigError, match="There is no row .'one head'."):
        ablation_matrix(["one head"])
    with pytest.raises(ConfigError, match="There is no column 'sums'"):
        ablation_matrix(shown=["sums"])
