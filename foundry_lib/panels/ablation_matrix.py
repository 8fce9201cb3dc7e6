"""The matrix of lesson 09: every ablation against every rule, and for each number the seeds that it comes from.

The course trained all rows; none of them is a learner's model.
"""

from functools import cache
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .. import plots
from ..analysis.statistics import beyond_noise, noise_border, spread
from ..experiments import ablations
from .controls import Choice
from .panel import Panel
from .picture import Picture

BASE, ALL = "whole model", "all, %"


@cache
def cells(rows: tuple[str, ...] = ()) -> dict[str, dict[str, list[float]]]:
    """Row → column → one value per seed: the excess loss by rule in nats per word, in all in % of the floor.

    rows: which ones; none given: all. Raises ConfigError for a row without runs.
    """
    return {
        row: {ALL if column == "all" else column: values for column, values in columns.items()}
        for row, columns in ablations.chosen(rows or list(ablations.measured())).items()
    }


def columns() -> list[str]:
    """The columns of the matrix: all together, and each rule."""
    return list(cells()[BASE])


def written(value: float, column: str) -> str:
    """A number with the digits that make sense in its unit. A value below 0, which is chance, is written as 0.

    >>> written(2.7, "mirror"), written(8.04, "all, %"), written(-0.01, "mirror")
    ('2.70', '8.0', '0.00')
    """
    return f"{max(0.0, value):.{1 if column == ALL else 2}f}"


def draw_matrix(ax: Axes, rows: tuple[str, ...] = ()):
    """In each cell the mean as a number and as a bar, and half the range of the seeds; a star is beyond the noise.

    A bar is a share of the largest mean in its column, so bars of one column compare.
    """
    table, rules = cells(rows), columns()
    most = {rule: max(fmean(values[rule]) for values in table.values()) for rule in rules}
    for y, row in enumerate(table.values()):
        for x, rule in enumerate(rules):
            values, mean = row[rule], fmean(row[rule])
            beyond = beyond_noise(table[BASE][rule], values)
            ax.barh(y, 0.94 * max(0.0, mean) / most[rule], 0.86, x - 0.47, color=plots.SKY, alpha=0.75)
            number = f"{written(mean, rule)}{'★' if beyond else ''}"
            middle = dict(ha="center", va="center")
            ax.text(x, y - 0.18, number, fontsize=10, **middle)
            ax.text(x, y + 0.23, f"± {written(spread(values) / 2, rule)}", fontsize=8, **middle)
    ax.hlines(np.arange(len(table) + 1) - 0.5, -0.5, len(rules) - 0.5, color="white", lw=1)
    ax.vlines(np.arange(len(rules) + 1) - 0.5, -0.5, len(table) - 0.5, color="white", lw=1)
    ax.set_xticks(range(len(rules)), rules, fontsize=9)
    ax.set_yticks(range(len(table)), list(table), fontsize=9)
    ax.set(xlim=(-0.5, len(rules) - 0.5), ylim=(len(table) - 0.5, -0.5))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    ax.set_title("mean over the seeds above the floor, all in %, a rule in nats a word; ★ beyond the noise", fontsize=9)


class Matrix(Picture):
    """Left: the matrix with the chosen cell framed. Right: the cell's seeds beside those of the whole model.

    On the right, heights are shares of the largest number, and the axis names that number, so the axis does not move.
    """

    def __init__(self, rows: tuple[str, ...] = ()):
        self.rows = rows

    def build(self, figure: Figure, **values):
        left, right = figure.add_axes((0.115, 0.07, 0.685, 0.85)), figure.add_axes((0.855, 0.1, 0.135, 0.76))
        draw_matrix(left, self.rows)
        self.frame = left.add_patch(box(0, 0, ec=plots.ROLES["marked"], lw=2.5, animated=True))
        self.seeds, self.means = [], []
        for colour, marker in ((plots.ROLES["own model"], "o"), (plots.ROLES["marked"], "s")):
            self.seeds += right.plot([], [], marker, color=colour, mec="white", ms=8, animated=True)
            self.means += right.plot([], [], color=colour, lw=2, animated=True)
        self.border = right.axhline(0, color=plots.GREY, ls="--", lw=1.2, animated=True)
        right.set(xlim=(-0.5, 1.5), ylim=(-0.06, 1.12), yticks=[0, 0.5, 1], yticklabels=["0", "", ""])
        right.set_xticks([0, 1], ["whole", ""], fontsize=8)
        right.text(0.5, 1.02, "--- border of noise", ha="center", fontsize=9, transform=right.transAxes)
        above = dict(ha="center", fontsize=9, transform=right.transAxes, animated=True)
        self.column = right.text(0.5, 1.09, "", **above)
        below = dict(ha="center", va="top", fontsize=8, transform=right.get_xaxis_transform(), animated=True)
        self.row = right.text(1, -0.03, "", **below)
        beside = dict(ha="right", va="center", transform=right.get_yaxis_transform(), animated=True)
        self.largest = right.text(-0.06, 1, "", **beside)

    def move(self, row: str = "no RoPE", column: str = "mirror") -> str:
        table = cells()
        base, other = table[BASE][column], table[row][column]
        border = noise_border(base)
        largest = max(*base, *other, border)
        self.frame.set_xy((columns().index(column) - 0.5, list(cells(self.rows)).index(row) - 0.5))
        for x, (values, seeds, mean) in enumerate(zip((base, other), self.seeds, self.means, strict=True)):
            seeds.set_data(x + np.linspace(-0.1, 0.1, len(values)), [value / largest for value in values])
            mean.set_data([x - 0.25, x + 0.25], 2 * [fmean(values) / largest])
        self.border.set_ydata(2 * [border / largest])
        self.column.set_text(column)
        self.row.set_text("whole" if row == BASE else row)
        self.largest.set_text(written(largest, column))
        return compared(row, column)


def compared(row: str, column: str) -> str:
    """The seeds of a row beside those of the whole model, in words, and whether the rule sees a difference."""
    base, other = cells()[BASE][column], cells()[row][column]
    unit = "% above the floor" if column == ALL else "nats a word"
    span = " to ".join(written(value, column) for value in (min(base), max(base)))
    reading = f"{column}: the whole model owes {written(fmean(base), column)} {unit} (seeds {span})"
    if row == BASE:
        return reading + ". It is the row that all others are compared with."
    seeds = ", ".join(written(value, column) for value in sorted(other))
    reading += f"; {row} owes {written(fmean(other), column)} (seeds {seeds}). The means are "
    apart = abs(fmean(other) - fmean(base)) / spread(base)
    reading += f"{apart:.1f} spreads of the whole model apart: "
    if beyond_noise(base, other):
        return reading + "more than 3, a difference."
    touch = min(other) <= max(base) and min(base) <= max(other)
    return reading + f"not more than 3, so none is seen{'' if touch else ', though no seed of one reaches the other'}."


def box(x: int, y: int, **style) -> Rectangle:
    """The frame of the cell in column x and row y."""
    return Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, **style)


def ablation_matrix(rows: list[str] | None = None) -> Panel:
    """The panel: a row and a column, each on a slider.

    rows: up to seven have room beside the whole model, which always comes first; None: all. Raises ConfigError for a
    row without runs.
    """
    chosen = (BASE, *(row for row in rows if row != BASE)) if rows else ()
    names = list(cells(chosen))
    return Panel(
        Matrix(chosen),
        width=9.5,
        height=4.6,
        name="ablation matrix",
        row=Choice("no RoPE" if "no RoPE" in names else names[-1], [(row, row) for row in names], label="taken out"),
        column=Choice("mirror", [(rule, rule) for rule in columns()], label="rule"),
    )
