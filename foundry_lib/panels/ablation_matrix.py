"""The matrix of lesson 09: every ablation against every rule, and behind each number the seeds that it stands on."""

from functools import cache
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .. import ablations, plots
from ..runs import beyond_noise
from .panel import Choice, Panel

BASE, ALL = "whole model", "all, %"
WIDTH, HEIGHT, PLACE = 10, 4, (0.125, 0.15, 0.86, 0.72)  # of the figure, and of the matrix within its part of it


@cache
def cells() -> dict[str, dict[str, list[float]]]:
    """Row → column → one value a seed: nats a word above the floor by rule, and all together in per cent of it."""
    return {
        row: {ALL: [100 * run["share"] for run in runs]}
        | {rule: [run["by rule"][rule] for run in runs] for rule in runs[0]["by rule"] if rule != "free"}
        for row, runs in ablations.measured().items()
    }


def columns() -> list[str]:
    return list(cells()[BASE])


def written(value: float, column: str) -> str:
    """A number with as many digits as its unit bears; what is below 0 by chance is 0."""
    return f"{max(0.0, value):.{1 if column == ALL else 2}f}"


def draw_matrix(ax: Axes):
    """Mean, and below it half of highest less lowest; a star and a hatch where it is beyond the noise of the seeds."""
    table, rules = cells(), columns()
    means = np.array([[fmean(values[rule]) for rule in rules] for values in table.values()])
    height = np.clip(means / means.max(axis=0), 0, 1)  # each column has a scale of its own
    ax.imshow(height, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for y, row in enumerate(table.values()):
        for x, rule in enumerate(rules):
            values, beyond = row[rule], beyond_noise(table[BASE][rule], row[rule])
            half = (max(values) - min(values)) / 2
            text = f"{written(fmean(values), rule)}{'★' if beyond else ''}\n± {written(half, rule)}"
            colour = "black" if height[y, x] > 0.55 else "white"
            ax.text(x, y, text, ha="center", va="center", color=colour, fontsize=7.5)
            if beyond:
                ax.add_patch(box(x, y, hatch="//", ec=colour, lw=0, alpha=0.22))
    ax.set_xticks(range(len(rules)), rules, fontsize=8, rotation=25, ha="right")
    ax.set_yticks(range(len(table)), list(table), fontsize=8)
    ax.grid(visible=False)
    ax.set_title("nats a word above the floor, mean of three seeds", fontsize=9)


@cache
def picture() -> np.ndarray:
    """The matrix as pixels, drawn once: it never changes, and seventy numbers take a quarter of a second."""
    figure = Figure(figsize=(0.8 * WIDTH, HEIGHT), dpi=100, layout="none")
    canvas = FigureCanvasAgg(figure)
    draw_matrix(figure.add_axes(PLACE))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def draw(figure: Figure, row: str = "no RoPE", column: str = "mirror") -> str:
    """Left: the matrix with the chosen cell framed. Right: the cell's seeds beside those of the whole model."""
    table, rules = cells(), columns()
    figure.set_layout_engine("none")
    figure.add_axes((0, 0, 0.8, 1), frameon=False, xticks=[], yticks=[]).imshow(picture(), aspect="auto")
    x, y, width, height = PLACE
    frame = figure.add_axes((0.8 * x, y, 0.8 * width, height), frameon=False, xticks=[], yticks=[])
    frame.set(xlim=(-0.5, len(rules) - 0.5), ylim=(len(table) - 0.5, -0.5))
    frame.add_patch(box(rules.index(column), list(table).index(row), ec=plots.RED, lw=2.5))
    right = figure.add_axes((0.85, y, 0.14, height))

    base, other = table[BASE][column], table[row][column]
    for x, (values, colour, marker) in enumerate(((base, plots.BLUE, "o"), (other, plots.RED, "s"))):
        right.plot(x + np.linspace(-0.1, 0.1, len(values)), values, marker, color=colour, mec="white", ms=8)
        right.plot([x - 0.25, x + 0.25], 2 * [fmean(values)], color=colour, lw=2)
    border = fmean(base) + 3 * (max(base) - min(base))
    right.axhline(border, color=plots.GREY, ls="--", lw=1.2)
    right.set_xticks([0, 1], ["whole", "it" if row == BASE else row], fontsize=8)
    right.set(xlim=(-0.5, 1.5), ylim=(min(0, *base, *other), 1.15 * max(*base, *other, border)))
    right.set_title(f"{column}\n--- border of noise", fontsize=9)

    unit = "% above the floor" if column == ALL else "nats a word"
    span = " to ".join(written(value, column) for value in (min(base), max(base)))
    reading = f"{column}: the whole model owes {written(fmean(base), column)} {unit} (seeds {span})"
    if row == BASE:
        return reading + ". It is the row that all others are compared with."
    seeds = ", ".join(written(value, column) for value in sorted(other))
    reading += f"; {row} owes {written(fmean(other), column)} (seeds {seeds}). The means are "
    apart = abs(fmean(other) - fmean(base)) / (max(base) - min(base))
    reading += f"{apart:.1f} spreads of the whole model apart: "
    if beyond_noise(base, other):
        return reading + "more than 3, a difference."
    touch = min(other) <= max(base) and min(base) <= max(other)
    return reading + f"not more than 3, so none is seen{'' if touch else ', though no seed of one reaches the other'}."


def box(x: int, y: int, **style):
    return Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, **style)


def ablation_matrix() -> Panel:
    """The panel: a row and a column, each on a slider."""
    return Panel(
        draw,
        width=WIDTH,
        height=HEIGHT,
        name="ablation matrix",
        row=Choice("no RoPE", [(row, row) for row in cells()], label="taken out"),
        column=Choice("mirror", [(rule, rule) for rule in columns()], label="rule"),
    )
