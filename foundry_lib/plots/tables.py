"""Tables of measurements as pictures: excess loss by rule, and the quality of tales by sampling setting."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import BLUE, CARD, GREEN, ORANGE, PINK, ROLES

HATCHES = ("", "///", "...", "xxx")


def draw_rows(ax: Axes, rows: dict[str, dict[str, float]], rules: list[str]) -> str:
    """For each rule, bars side by side, one for each row of a table; a hatch tells the rows apart without colour.

    rows: row → rule → nats per word above the floor. A value below 0, which is chance, is drawn as 0. Returns the
    reading: the longest bar of each row.
    """
    ax.clear()
    width = 0.8 / len(rows)
    for i, (row, values) in enumerate(rows.items()):
        x = np.arange(len(rules)) - 0.4 + (i + 0.5) * width
        colour = (BLUE, ORANGE, GREEN, PINK)[i % 4]
        heights = [max(0.0, values[rule]) for rule in rules]
        ax.bar(x, heights, 0.92 * width, color=colour, hatch=HATCHES[i % 4], edgecolor=CARD, label=row)
    ax.set_xticks(np.arange(len(rules)), rules)
    ax.set(ylabel="nats per word above the floor")
    ax.grid(visible=False, axis="x")
    ax.legend(fontsize=8)
    longest = {row: max(rules, key=values.__getitem__) for row, values in rows.items()}
    bars = [f"{row}: {rule}, {max(0.0, rows[row][rule]):.2f}" for row, rule in longest.items()]
    return f"Excess loss by rule, in nats per word. The longest bar of {'; of '.join(bars)}."


def draw_quality(figure: Figure, curves: dict):
    """For each setting of `quality.quality_curves`, a picture: the shares of valid, distinct and copied tales.

    curves: setting → value → Quality. The bars of the valid share are its 95 % interval.
    """
    figure.clear()
    for ax, (knob, points) in zip(
        figure.subplots(1, len(curves), sharey=True, squeeze=False)[0], curves.items(), strict=True
    ):
        x, qualities = np.arange(len(points)), list(points.values())
        valid = np.array([q.valid / q.n for q in qualities])
        ends = np.array([q.interval for q in qualities]).T  # (2, points)
        to_ends = np.maximum(0, [valid - ends[0], ends[1] - valid])  # rounding may make one negative
        ax.errorbar(x, valid, to_ends, color=ROLES["right"], marker="o", label="valid")
        ax.plot(x, [q.distinct / q.n for q in qualities], color=ORANGE, ls="--", marker="s", ms=4, label="distinct")
        if all(q.copied is not None for q in qualities):
            ax.plot(
                x, [q.copied / q.n for q in qualities], color=ROLES["wrong"], ls=":", marker="^", ms=4, label="copied"
            )
        ax.set_xticks(x, [f"{value:g}" for value in points])
        ax.set(xlabel=knob, ylim=(-0.03, 1.05))
    figure.axes[0].set_ylabel("share of the tales")
    figure.axes[0].legend(fontsize=8)
