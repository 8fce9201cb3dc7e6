"""Loss curves: one training with the lines to compare it with, and several trainings in one figure."""

import numpy as np
from matplotlib.axes import Axes

from .style import BLUE, GREEN, GREY, ORANGE, PINK, RED, ROLES, SKY

LINE_STYLES = {"ln V": ":", "unigram": "-.", "bigram": "--", "no memory": (0, (5, 1)), "floor": "-"}


def draw_losses(ax: Axes, steps, train, val_steps, val, lines: dict[str, float], total: int | None = None):
    """The curve of a training: the loss of every batch (faint), its running mean, the validation loss, known lines.

    steps, train, val_steps, val: sequences; losses in nats per token. lines: name → nats, drawn across and named at
    the right edge. total: the end of the time axis. With a line "floor" the loss axis is stretched near the floor
    (`stretch_near_floor`), because what happens just above it matters most.
    """
    ax.clear()
    steps, train = np.asarray(steps, dtype=float), np.asarray(train, dtype=float)
    if len(train):
        ax.plot(steps, train, color=ROLES["one batch"], alpha=0.6, lw=0.8)
        mean = running_mean(steps), running_mean(train)  # each mean stands at the middle of its steps, on the curve
        ax.plot(*mean, color=ROLES["training"], lw=1.6, label="training, mean of 20 steps")
    if len(val):
        ax.plot(val_steps, val, color=ROLES["validation"], marker="o", ms=4, lw=1.6, label="validation")
    right = total or (steps[-1] if len(steps) else 1)
    for name, nats in lines.items():
        draw_line(ax, name, nats, right)
    ax.set(xlim=(0, right), xlabel="step", ylabel="loss (nats per token)")
    if "floor" in lines:
        stretch_near_floor(ax, 0.9 * lines["floor"], 1.3 * lines["ln V"])
    if len(train) or len(val):
        # above the axes: inside, the known lines would cross it
        ax.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)


def stretch_near_floor(ax: Axes, bottom: float, top: float):
    """A loss axis from bottom to top that shows log(loss − 0.9 · bottom), so that small losses have most of the room.

    On a plain logarithmic axis, a model that ends 3 % above the floor would lie on the line of the floor.
    """
    base = 0.9 * bottom
    ax.set_yscale(
        "function", functions=(lambda y: np.log(np.maximum(y - base, 1e-3 * bottom)), lambda v: np.exp(v) + base)
    )
    ticks = [tick for tick in (0.2, 0.5, 0.6, 0.8, 1, 2, 5, 10) if bottom < tick < top]
    ax.set(ylim=(bottom, top), ylabel="loss (nats per token),\nstretched near the floor")
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


def draw_line(ax: Axes, name: str, nats: float, right: float):
    """One known loss: a line across, and its name and value at the right edge."""
    style = next((s for start, s in LINE_STYLES.items() if name.startswith(start)), (0, (1, 3)))
    ax.axhline(nats, color=GREY, ls=style, lw=1)
    below = name in ("floor", "unigram")  # above them there is the curve's end, or the line of ln V
    ax.annotate(
        f"{name} {nats:.2f}",
        (right, nats),
        xytext=(0, -3 if below else 2),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
        ha="right",
        va="top" if below else "bottom",
    )


def running_mean(values, width: int = 20) -> np.ndarray:
    """Mean of each value and up to width − 1 values before it.

    >>> running_mean([1, 3, 5], width=2).tolist()
    [1.0, 2.0, 4.0]
    """
    sums = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    index = np.arange(1, len(sums))
    start = np.maximum(0, index - width)
    return (sums[index] - sums[start]) / (index - start)


def draw_runs(ax: Axes, rows: dict[str, list[tuple]], xlabel: str, ylabel: str):
    """Curves of several trainings: a colour and a line style for each setting.

    A thin line is one seed, the thick line their mean, the band their lowest to highest. rows: setting → for each seed
    x and y, two sequences. Mean and band are point by point where the seeds have equally many points, at the mean of
    their x; else they reach as far as the shortest seed.
    """
    ax.clear()
    for i, (row, seeds) in enumerate(rows.items()):
        colour, style = (BLUE, ORANGE, GREEN, RED, SKY, PINK)[i % 6], ("-", "--", "-.", ":")[i % 4]
        for x, y in seeds:
            ax.plot(x, y, color=colour, ls=style, lw=0.7, alpha=0.6)
        if len({len(y) for _, y in seeds}) == 1:
            x, heights = np.mean([x for x, _ in seeds], axis=0), np.array([y for _, y in seeds])
        else:
            x = np.linspace(max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds), 200)
            heights = np.array([np.interp(x, *seed) for seed in seeds])
        if len(seeds) > 1:
            ax.fill_between(x, heights.min(0), heights.max(0), color=colour, alpha=0.2, lw=0)
        ax.plot(x, heights.mean(0), color=colour, ls=style, lw=2.2, label=row)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if rows:
        ax.legend(fontsize=8)


def draw_power_laws(ax: Axes, rows: dict[str, tuple], later: tuple, xlabel: str, ylabel: str):
    """Points and their fitted laws on logarithmic axes, a marker for each row, and stars that no fit has seen.

    rows: name → x, y and the law, a function of x. later: x and y of the stars. The lines reach as far as the stars.
    """
    reach = np.array([min(min(x) for x, _, _ in rows.values()), max(later[0])])
    for (row, (x, y, law)), colour, marker in zip(rows.items(), (BLUE, ORANGE, GREEN), "os^", strict=False):
        ax.loglog(x, y, marker, color=colour, label=row)
        ax.loglog(reach, law(reach), color=colour, lw=1)
    ax.loglog(*later, "*", color=GREEN, mec="black", ms=12, label="not in the fit")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(fontsize=8)
