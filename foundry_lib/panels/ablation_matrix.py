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
from ..analysis.statistics import Difference, against_first
from ..errors import ConfigError
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


@cache
def tests(rows: tuple[str, ...], column: str) -> dict[str, Difference]:
    """Row → its difference from the whole model in a column: Welch's test, with Holm's correction for these rows."""
    return against_first({row: columns[column] for row, columns in cells(rows).items()})


def scale(rows: tuple[str, ...], column: str) -> float:
    """The mean at which a bar fills its cell: the second largest of the column. The largest often leaves no room for
    the others, so its bar is cut."""
    means = sorted(fmean(values[column]) for values in cells(rows).values())
    return means[-2] if len(means) > 2 else means[-1]


def draw_matrix(ax: Axes, rows: tuple[str, ...], shown: list[str]):
    """In each cell the mean as a number, and below it as a bar; ★ differs from the whole model (`tests`).

    Bars of one column compare (`scale`). A bar that is cut ends in an arrow.
    """
    table = cells(rows)
    for x, column in enumerate(shown):
        found, full = tests(rows, column), scale(rows, column)
        for y, (row, values) in enumerate(table.items()):
            mean = fmean(values[column])
            star = row in found and found[row].p < 0.05
            number = written(mean, column) + ("★" if star else "")
            ax.text(x, y - 0.12, number, fontsize=11, ha="center", va="center")
            share = max(0.0, mean) / full
            ax.barh(y + 0.3, 0.86 * min(1.0, share), 0.16, x - 0.43, color=plots.BLUE)
            if share > 1:
                ax.plot(x + 0.44, y + 0.3, ">", color=plots.BLUE, ms=8, clip_on=False)
    ax.hlines(np.arange(len(table) + 1) - 0.5, -0.5, len(shown) - 0.5, color=plots.GREY, lw=0.6)
    ax.vlines(np.arange(len(shown) + 1) - 0.5, -0.5, len(table) - 0.5, color=plots.GREY, lw=0.6)
    ax.set_xticks(range(len(shown)), shown, fontsize=10)
    ax.set_yticks(range(len(table)), list(table), fontsize=10)
    ax.set(xlim=(-0.5, len(shown) - 0.5), ylim=(len(table) - 0.5, -0.5))
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)


class Matrix(Picture):
    """Left: the matrix with the chosen cell framed. Right: the seeds of the cell beside those of the whole model.

    On the right, heights are shares of the largest number, and the axis names that number, so the axis does not move.
    """

    def __init__(self, rows: tuple[str, ...] = (), shown: tuple[str, ...] = ()):
        self.rows, self.shown = rows, list(shown) or columns()

    def build(self, figure: Figure, **values):
        left, right = figure.add_axes((0.11, 0.02, 0.6, 0.9)), figure.add_axes((0.81, 0.1, 0.18, 0.72))
        draw_matrix(left, self.rows, self.shown)
        self.frame = left.add_patch(box(0, 0, ec=plots.ROLES["marked"], lw=2.5, animated=True))
        self.seeds = []
        for colour, marker in ((plots.ROLES["own model"], "o"), (plots.ROLES["marked"], "s")):
            self.seeds += right.plot([], [], marker, color=colour, mec="white", ms=8, animated=True)
        dashed = dict(color=plots.GREY, ls="--", lw=1.2, animated=True)
        self.whole = right.axhline(0, **dashed)
        (self.interval,) = right.plot([], [], "_-", color=plots.ROLES["marked"], lw=3, ms=14, mew=3, animated=True)
        right.set(xlim=(-0.5, 1.7), ylim=(-0.5, 1.5), yticks=[0, 1], yticklabels=["0", ""])
        right.set_xticks([0, 1], ["whole", ""], fontsize=9)
        right.text(0.5, 1.02, "I: mean of whole model +\ninterval of the difference", ha="center", fontsize=9,
                   transform=right.transAxes)  # fmt: skip
        above = dict(ha="center", fontsize=10, transform=right.transAxes, animated=True)
        self.column = right.text(0.5, 1.16, "", **above)
        below = dict(ha="center", va="top", fontsize=9, transform=right.get_xaxis_transform(), animated=True)
        self.row = right.text(1, -0.03, "", **below)
        beside = dict(ha="right", va="center", transform=right.get_yaxis_transform(), animated=True)
        self.largest = right.text(-0.06, 1, "", **beside)

    def move(self, row: str = "no RoPE", column: str = "mirror") -> str:
        table = cells(self.rows)
        base, other = table[BASE][column], table[row][column]
        largest = max(*base, *other)
        self.frame.set_xy((self.shown.index(column) - 0.5, list(table).index(row) - 0.5))
        for x, (values, seeds) in enumerate(zip((base, other), self.seeds, strict=True)):
            seeds.set_data(x + np.linspace(-0.12, 0.12, len(values)), [value / largest for value in values])
        self.whole.set_ydata(2 * [fmean(base) / largest])
        found = tests(self.rows, column).get(row)
        ends = [] if found is None else [(fmean(base) + end) / largest for end in (found.low, found.high)]
        self.interval.set_data([1.4] * len(ends), ends)
        self.column.set_text(column)
        self.row.set_text("whole" if row == BASE else row)
        self.largest.set_text(written(largest, column))
        return compared(row, column, self.rows)


def compared(row: str, column: str, rows: tuple[str, ...]) -> str:
    """The seeds of a row beside those of the whole model, in words, and what Welch's test says."""
    base, other = cells(rows)[BASE][column], cells(rows)[row][column]
    unit = "% above the floor" if column == ALL else "nats per word above the floor"
    reading = (
        f"{column}: the whole model has {written(fmean(base), column)} {unit} (seeds {seeds_in_words(base, column)})"
    )
    if row == BASE:
        return reading + ". All other rows are compared with it."
    found, digits = tests(rows, column)[row], 1 if column == ALL else 2
    low, high = (f"{end:+.{digits}f}" for end in (found.low, found.high))
    reading += f"; {row} has {written(fmean(other), column)} (seeds {seeds_in_words(other, column)}). "
    reading += f"The difference is {found.value:+.{digits}f}, 95 % interval {low} to {high}; p, corrected for "
    reading += f"{len(tests(rows, column))} comparisons, is {'below 0.001' if found.p < 0.001 else f'{found.p:.3f}'}: "
    return reading + ("a difference." if found.p < 0.05 else "we cannot claim a difference.")


def seeds_in_words(values: list[float], column: str) -> str:
    return ", ".join(written(value, column) for value in sorted(values))


def box(x: int, y: int, **style) -> Rectangle:
    """The frame of the cell in column x and row y."""
    return Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, **style)


def ablation_matrix(rows: list[str] | None = None, shown: list[str] | None = None) -> Panel:
    """The panel: a row and a column, each on a slider.

    rows: up to seven have room beside the whole model, which always comes first; None: all. shown: the columns,
    "all, %" and rules; None: all. Raises ConfigError for a row or a column without runs.
    """
    chosen = (BASE, *(row for row in rows if row != BASE)) if rows else ()
    names, rules = list(cells(chosen)), list(shown or columns())
    if unknown := [rule for rule in rules if rule not in columns()]:
        raise ConfigError(f"There is no column {unknown[0]!r}; there are {', '.join(columns())}.")
    return Panel(
        Matrix(chosen, tuple(rules)),
        width=9.5,
        height=4.6,
        name="ablation matrix",
        row=Choice("no RoPE" if "no RoPE" in names else names[-1], [(row, row) for row in names], label="taken out"),
        column=Choice("mirror" if "mirror" in rules else rules[-1], [(rule, rule) for rule in rules], label="rule"),
    )
