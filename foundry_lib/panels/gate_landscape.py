"""The gate landscape of lesson 04: the product of gate and up projection as a map, and one neuron's words on it."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from .. import plots
from ..analysis.neurons import GATES, Neurons, product
from ..errors import ConfigError
from .controls import Choice, Slider
from .panel import Panel
from .picture import Picture

LEVELS = (-16, -8, -4, -2, -1, -0.3, 0.3, 1, 2, 4, 8, 16)
DRAWN = 400  # points of each colour; more would only hide one another


def labels(width: float, height: float, activation: str) -> list[tuple[float, float, float, float]]:
    """Level, gate, up projection and slope for the number on each line of the map.

    On the right the numbers are where a ray cuts the lines; on the left where the activation is lowest.
    """
    right, left = torch.linspace(0, width, 400), torch.linspace(-width, 0, 400)
    ray = 1.6 * height / width * right  # steeper than most clouds of words, so that these do not cover the numbers
    heights, leak = product(right, ray, activation), GATES[activation](left)
    numbers, deepest = [], leak.argmin().item()
    for level in LEVELS:
        reached = (heights >= abs(level)).nonzero()
        if len(reached) and reached[0].item() < 390:
            first = reached[0].item()
            gate = right[first - 1 : first + 1]
            up = level / GATES[activation](gate)
            numbers.append((level, gate[1].item(), up[1].item(), (up.diff() / gate.diff()).item()))
        up = level / leak[deepest].item() if leak[deepest] < -1e-3 else math.inf
        if abs(up) < 0.93 * height:
            numbers.append((level, left[deepest].item(), up, 0.0))
    return numbers


def draw_contours(ax: Axes, width: float, height: float, activation: str = "SiLU"):
    """The map: lines of equal activation(gate) · up, each with its number; lines of negative products are dashed.

    width, height: the largest |gate| and |up| on the map. On the line of a level, up is level / activation(gate). This
    changes its sign with the gate, so each line has two branches. Each branch is cut off a little outside the map.
    """
    right = torch.linspace(0, width, 401)[1:]
    branches, looks = [], []
    for level in LEVELS:
        for gate in (right, -right):
            up = (level / GATES[activation](gate)).clamp(-2 * height, 2 * height)
            branches.append(torch.stack((gate, up), dim=1).numpy())
            looks.append((plots.BLUE, "-") if level > 0 else (plots.RED, "--"))
    colours, styles = zip(*looks, strict=True)
    ax.add_collection(LineCollection(branches, colors=colours, linestyles=styles, linewidths=1), autolim=False)
    ax.set(xlim=(-width, width), ylim=(-height, height), xlabel="gate", ylabel="up projection")
    for level, gate, up, slope in labels(width, height, activation):
        look = dict(color=plots.BLUE if level > 0 else plots.RED, fontsize=8, ha="center", va="center_baseline")
        along = dict(rotation=math.degrees(math.atan(slope)), rotation_mode="anchor", transform_rotates_text=True)
        paper = dict(facecolor=plots.CARD, edgecolor="none", pad=1.5)
        ax.text(gate, up, f"{level:g}".replace("-", "−"), bbox=paper, clip_on=True, **look, **along)
    ax.axhline(0, color=plots.GREY, lw=0.6)
    ax.axvline(0, color=plots.GREY, lw=0.6)
    ax.grid(visible=False)


def few(chosen: Tensor) -> Tensor:
    """At most DRAWN of the indices where `chosen` is True, evenly spread.

    >>> few(torch.tensor([False, True, True])).tolist()
    [1, 2]
    """
    indices = chosen.nonzero()[:, 0]
    return indices[:: math.ceil(len(indices) / DRAWN)]


def deciles(values: Tensor) -> tuple[float, float, float]:
    """The numbers that 10, 50 and 90 % of the values lie below."""
    return tuple(torch.quantile(values, torch.tensor([0.1, 0.5, 0.9])).tolist())


class Landscape(Picture):
    """Left: the map with one neuron's words on it. Right: how wide the gate opens for each kind of words."""

    def __init__(self, neurons: Neurons, title: str = ""):
        self.neurons, self.model_title = neurons, title
        self.ranking = {kind: neurons.most_selective(kind) for kind in neurons.kinds}
        self.wins = {kind: neurons.selectivity(kind).tolist() for kind in neurons.kinds}
        rest = ~torch.stack(list(neurons.kinds.values())).any(0)
        self.rows = {**neurons.kinds, "all the rest": rest} if rest.any() else dict(neurons.kinds)
        self.size = [1.1 * side for side in neurons.extent]  # the same map for all neurons, so that they compare

    def key(self, kind: str, rank: int, activation: str = "SiLU"):
        return activation

    def build(self, figure: Figure, kind: str, rank: int, activation: str = "SiLU"):
        margins = dict(left=0.06, right=0.98, bottom=0.13, top=0.86, wspace=0.22)
        left, right = figure.subplots(1, 2, width_ratios=[1.3, 1], gridspec_kw=margins)
        draw_contours(left, *self.size, activation)
        self.points = []
        for colour, marker, size, label in (
            (plots.GREY, "o", 2.4, "other words"),
            (plots.ORANGE, "^", 4.5, "words of the chosen kind"),
        ):
            look = dict(color=colour, marker=marker, ms=size, mew=0, ls="", alpha=0.75, label=label, clip_on=False)
            self.points += left.plot([], [], animated=True, **look)
        above = dict(fontsize=9, transform=left.transAxes)
        title = f"{activation}(gate) · up, layer {self.neurons.layer}, neuron "
        left.text(0.7, 1.02, title, ha="right", **above)
        self.number = left.text(0.7, 1.02, "", animated=True, **above)
        left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=2, handletextpad=0.2)

        self.ranges = right.add_collection(LineCollection([], lw=3, animated=True), autolim=False)
        self.middles = []
        for colour, marker in ((plots.GREY, "o"), (plots.ORANGE, "^")):
            self.middles += right.plot([], [], marker, color=colour, ms=8, mec="white", animated=True)
        right.set_title(self.model_title, fontsize=9, loc="right")
        right.axvline(0, color=plots.GREY, lw=0.8)
        right.set_yticks(range(len(self.rows)), list(self.rows), fontsize=8)
        right.set(xlim=(-self.size[0], self.size[0]), ylim=(len(self.rows) - 0.5, -0.5))
        right.grid(visible=False, axis="y")
        right.set(xlabel="gate: the middle word, and 10 to 90 % of them")

    def move(self, kind: str, rank: int, activation: str = "SiLU") -> str:
        neurons, neuron = self.neurons, self.ranking[kind][rank - 1]
        chosen, gate, up = neurons.kinds[kind], neurons.gate[:, neuron], neurons.up[:, neuron]
        x, y = gate.clamp(-self.size[0], self.size[0]), up.clamp(-self.size[1], self.size[1])
        for points, members in zip(self.points, (~chosen, chosen), strict=True):
            shown = few(members)
            points.set_data(x[shown], y[shown])
        self.number.set_text(f"{neuron}")

        spreads = {name: deciles(x[members]) for name, members in self.rows.items()}
        self.ranges.set_segments([[(low, y), (high, y)] for y, (low, _, high) in enumerate(spreads.values())])
        self.ranges.set_color([plots.ORANGE if name == kind else plots.GREY for name in spreads])
        middles = [(middle, y, name == kind) for y, (name, (_, middle, _)) in enumerate(spreads.items())]
        for dots, of_kind in zip(self.middles, (False, True), strict=True):
            points = [(middle, y) for middle, y, is_kind in middles if is_kind == of_kind]
            dots.set_data(*zip(*points, strict=True))

        beyond = ((x != gate) | (y != up)).sum().item()
        small = product(gate, up, activation).abs() < 0.1
        return (
            f"Layer {neurons.layer}, neuron {neuron}, number {rank} for {kind}: {kind} open its gate wider than other "
            f"words in {100 * self.wins[kind][neuron]:.0f} of 100 pairs. Widest open for: "
            f"{', '.join(neurons.top_words(neuron))}. With {activation} next to nothing (below 0.1) passes at "
            f"{100 * small[chosen].double().mean():.0f} % of the {kind} and "
            f"{100 * small[~chosen].double().mean():.0f} % of the other words."
            + (f" Of all {len(gate):,} words {beyond} lie beyond the map and stand on its edge." if beyond else "")
        )


def gate_landscape(neurons: Neurons, kind: str = "colours", title: str = "") -> Panel:
    """The panel: a kind of words, the neuron by its rank for that kind, and the curve of the gate. title: the model."""
    if kind not in neurons.kinds:
        raise ConfigError(f"The texts have no {kind!r}; there are {', '.join(neurons.kinds)}.")
    return Panel(
        Landscape(neurons, title),
        width=9.5,
        height=4,
        name=f"gate landscape, {title}" if title else "gate landscape",
        kind=Choice(kind, list(zip(neurons.kinds, neurons.kinds, strict=True)), "kind of words"),
        rank=Slider(1, 1, neurons.gate.shape[1], label="neuron, by rank"),
        activation=Choice("SiLU", list(zip(GATES, GATES, strict=True)), "gate"),
    )
