"""Attention as pictures: the weights of one head, and for all heads their weights beside what they are worth."""

import numpy as np
from matplotlib.axes import Axes

from .style import BLUE, INK, ORANGE, RED

NUMBERED, SIZE = 16, 8  # columns whose cells have room for a number; points of names and numbers


def draw_weights(ax: Axes, weights, labels: list[str], columns: list[str] | None = None, past=None):
    """Attention of one head: a row for each query, a column for each key; the future is left blank.

    weights: (T, T), or (R, C) for some queries and some keys. labels: a name for each row, or none. columns: a name for
    each column, by default the rows' names. past: (R, C), True where the key is not in the query's future; by default
    the lower triangle. With at most NUMBERED columns each cell from 0.1 on has its number, if it fits in the cell.
    """
    ax.clear()
    rows, keys = np.asarray(weights).shape
    # a mesh draws five times as fast as an image; a number as a marker draws fifty times as fast as text
    corners = np.arange(keys + 1) - 0.5, np.arange(rows + 1) - 0.5
    ax.pcolormesh(*corners, np.zeros((rows, keys)), cmap="cividis", vmin=0, vmax=1)
    ax.set(xlim=(-0.5, keys - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    cell = 72 / ax.figure.dpi * min(ax.bbox.width / keys, ax.bbox.height / rows)  # points
    broad = cell >= 1.5 * SIZE  # enough for a number, and for names that slant
    if keys <= NUMBERED and broad:
        for tenths in range(1, 11):
            number = f"${tenths / 10:.1f}$"
            ax.plot([], [], marker=number, ms=1.5 * SIZE, mew=0, ls="", color="black" if tenths > 5 else "white")
    move_weights(ax, weights, past)
    labels = [label.replace("$", r"\$") for label in labels]
    columns = labels if columns is None else [label.replace("$", r"\$") for label in columns]
    slanted = dict(rotation=50, ha="right", rotation_mode="anchor") if broad else dict(rotation=90)
    ax.set_xticks(np.arange(keys) if columns else [], columns or [], fontsize=SIZE, **slanted)
    ax.set_yticks(np.arange(rows) if labels else [], labels or [], fontsize=SIZE)
    ax.tick_params(axis="x", length=2, pad=1)
    ax.grid(visible=False)


def move_weights(ax: Axes, weights, past=None):
    """Show other weights (R, C) in a picture of `draw_weights`: its colours and, where there are any, its numbers."""
    weights = np.asarray(weights, dtype=float)
    past = np.tri(*weights.shape, dtype=bool) if past is None else np.asarray(past)
    ax.collections[0].set_array(np.ma.masked_where(~past, weights))
    for tenths, numbers in enumerate(ax.lines, 1):
        places = np.nonzero(past & ((10 * weights).round() == tenths))
        numbers.set_data(places[1], places[0])


def draw_use(left: Axes, right: Axes, heads: list[str], weights: list[float], lost: dict[str, list[tuple]]):
    """Where the heads attend against what they are worth: a row for each head.

    left: a bar for its weight. right: a dot with its interval for the nats lost, for each way to silence it. lost: name
    of the way → for each head (mean, low, high).
    """
    rows = np.arange(len(heads))
    left.clear(), right.clear()
    left.barh(rows, weights, color=BLUE, height=0.6)
    ways = zip(lost.items(), ((RED, "o", -0.15), (ORANGE, "s", 0.15)), strict=False)
    for (name, found), (colour, marker, shift) in ways:
        mean, low, high = np.array(found).T
        style = dict(color=colour, fmt=marker, ms=5, label=name)
        right.errorbar(mean, rows + shift, xerr=(mean - low, high - mean), **style)
    left.set(xlim=(0, 1), xlabel="weight on the next word", ylabel="layer · head", yticks=rows, yticklabels=heads)
    right.set(xlabel="nats lost when silent", yticks=rows, yticklabels=[""] * len(heads))
    right.axvline(0, color=INK, lw=1)
    right.legend(fontsize=9, loc="best")
    for ax in (left, right):
        ax.set_ylim(len(heads) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
