"""Attention as pictures: the weights of one head, and weight against use for all of them."""

import numpy as np
from matplotlib.axes import Axes

from .style import BLUE, GREEN, ORANGE, PINK


def draw_weights(ax: Axes, weights, labels: list[str], size: float = 8):
    """Attention of one head: a row for each query, a column for each key; the future is white.

    weights: (T, T); each row sums to 1 over its own and all earlier positions. With at most 12 tokens each cell has its
    number. labels: T names, or none. size: of the labels, in points.
    """
    ax.clear()
    n = len(weights)
    # a mesh draws five times as fast as an image; a number as a marker draws fifty times as fast as text
    ax.pcolormesh(np.arange(n + 1) - 0.5, np.arange(n + 1) - 0.5, np.zeros((n, n)), cmap="cividis", vmin=0, vmax=1)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
    if n <= 12:
        for tenths in range(11):
            number = f"${tenths / 10:.1f}$"
            ax.plot([], [], marker=number, ms=1.5 * size, mew=0, ls="", color="black" if tenths > 5 else "white")
    move_weights(ax, weights)
    labels = [label.replace("$", r"\$") for label in labels]
    ax.set_xticks(np.arange(n) if labels else [], labels or [], rotation=90, fontsize=size)
    ax.set_yticks(np.arange(n) if labels else [], labels or [], fontsize=size)
    ax.grid(visible=False)


def move_weights(ax: Axes, weights):
    """Show other weights (T, T) in a picture of `draw_weights`: its colours and, where there are any, its numbers."""
    weights = np.asarray(weights, dtype=float)
    past = np.tri(len(weights), dtype=bool)
    ax.collections[0].set_array(np.ma.masked_where(~past, weights))
    for tenths, numbers in enumerate(ax.lines):
        rows, columns = np.nonzero(past & ((10 * weights).round() == tenths))
        numbers.set_data(columns, rows)


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
    ax.set(xlabel="weight on the word to be said", ylabel="nats lost when silent", xlim=(-0.03, 1.1))
    ax.legend(fontsize=8, loc="upper center")
