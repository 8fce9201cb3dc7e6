"""Attention as pictures: the weights of one head, and weight against use for all of them."""

import numpy as np
from matplotlib.axes import Axes

from .style import BLUE, GREEN, ORANGE, PINK

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


def draw_looking(ax: Axes, points: list[tuple[float, float, str, int]], ringed: list[tuple] = ()):
    """Weight against use: a dot for each head at each rule, with the rule's name where there is room.

    points: (weight on the word to be predicted, nats lost when the head is silent, rule, layer). ringed: (weight, nats,
    rule) of the points that the lesson discusses; they get a ring, and always a name.
    """
    ax.clear()
    for layer in sorted({point[3] for point in points}):
        x, y = zip(*(point[:2] for point in points if point[3] == layer), strict=True)
        ax.plot(x, y, "so^D"[layer % 4], color=(ORANGE, BLUE, GREEN, PINK)[layer % 4], label=f"layer {layer}")
    named = []
    for weight, cost, rule in ringed:
        ax.plot(weight, cost, "o", ms=13, mfc="none", mec="black")
        ax.annotate(rule, (weight, cost), xytext=(11, 0), textcoords="offset points", fontsize=10, va="center")
        named.append((weight, cost))
    for weight, cost, rule, _ in sorted(points, key=lambda point: -point[1]):
        free = all(abs(weight - x) > 0.12 or abs(cost - y) > 0.15 for x, y in named)
        if free and (weight > 0.3 or cost > 0.8):
            ax.annotate(rule, (weight, cost), xytext=(6, 4), textcoords="offset points", fontsize=8)
            named.append((weight, cost))
    ax.set(xlabel="weight on the next word", ylabel="nats lost when silent", xlim=(-0.03, 1.1))
    ax.legend(fontsize=8, loc="upper center")
