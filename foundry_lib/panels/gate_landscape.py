"""The gate landscape of lesson 04: what a pair (gate, value) gives, and where one neuron's words stand on that map."""

import math
import operator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from .. import plots
from ..errors import ConfigError
from ..tales import grammar
from .panel import Choice, Panel, Picture, Slider

GATES = {"SiLU": F.silu, "GELU": F.gelu, "ReLU": F.relu}
LEVELS = (-16, -8, -4, -2, -1, -0.3, 0.3, 1, 2, 4, 8, 16)
DRAWN = 400  # points of each colour; more would only hide one another
OFTEN = 5  # a word is ranked when the texts have it this often


def product(gate: Tensor, value: Tensor, activation: str = "SiLU") -> Tensor:
    """What a hidden channel hands on: activation(gate) · value."""
    return GATES[activation](gate) * value


def word_kinds(language: str = "en") -> dict[str, set[str]]:
    """Some kinds of words of the tales: name → words."""
    lists = grammar(language).lists
    return {
        "colours": set(lists["colours"]),
        "numbers": set(lists["numbers"]),
        "names": set(lists["heroes"]) | set(lists["friends"]),
        "places": set(lists["places"]),
        "spell words": set(lists["syllables"]),
    }


@dataclass
class Neurons:
    """Gate and value of every hidden channel ("neuron") of one layer, at every word of some texts.

    layer: which one, from 0. words: the N words. gate, value: (N, F), what w_gate and w_up give, before the activation.
    kinds: kind → (N,) True where the word is of that kind.
    """

    layer: int
    words: list[str]
    gate: Tensor
    value: Tensor
    kinds: dict[str, Tensor]

    def selectivity(self, kind: str) -> Tensor:
        """(F,): the share of pairs, a word of this kind and one that is not, in which the first opens the gate wider.

        It counts ranks and not pairs (Mann & Whitney 1947): sorted by gate, the words of a kind have, together, as
        many words below them as there are pairs that they win, and those among themselves.
        """
        if kind not in self.kinds:
            raise ConfigError(f"The texts have no {kind!r}; there are {', '.join(self.kinds)}.")
        chosen = self.kinds[kind]
        rank = self.rank[chosen]
        n, others = len(rank), len(chosen) - len(rank)
        return (rank.sum(0) - n * (n - 1) // 2).double() / (n * others)

    @cached_property
    def rank(self) -> Tensor:
        """(N, F): how many words open this neuron less than this word does."""
        order = self.gate.argsort(dim=0)
        places = torch.arange(len(order))[:, None].expand_as(order)
        return torch.empty_like(order).scatter_(0, order, places)

    def most_selective(self, kind: str) -> list[int]:
        """The neurons, the most selective for this kind first."""
        return self.selectivity(kind).argsort(descending=True, stable=True).tolist()

    @cached_property
    def dictionary(self) -> tuple[list[str], Tensor]:
        """The different words, and (N,) the place of each word among them."""
        places = {word: place for place, word in enumerate(dict.fromkeys(self.words))}
        return list(places), torch.tensor([places[word] for word in self.words])

    def top_words(self, neuron: int, n: int = 5) -> list[str]:
        """The words that open this neuron most, by the mean of its gate; rare ones are left out."""
        words, places = self.dictionary
        count = places.bincount(minlength=len(words))
        mean = torch.zeros(len(words), dtype=torch.float64).index_add(0, places, self.gate[:, neuron].double()) / count
        order = mean.argsort(descending=True, stable=True).tolist()
        return [words[place] for place in order if count[place] >= OFTEN][:n]

    @cached_property
    def extent(self) -> tuple[float, float]:
        """|gate| and |value| that nine in ten neurons stay below at every word; at least 1."""
        largest = torch.stack((self.gate.abs().amax(0), self.value.abs().amax(0)))
        return tuple(largest.quantile(0.9, dim=1).clamp(min=1.0).tolist())


@torch.no_grad()
def gather(model, tokenizer, texts: list[str], layer: int = 0, kinds: dict[str, set[str]] | None = None) -> Neurons:
    """Let the model read each text and note what the feed-forward of one layer sees.

    layer: −1 is the last. kinds: kind → words, `word_kinds()` unless given; a kind that no text has is left out.
    Raises ConfigError for a layer that the model lacks, and where no word of any kind was read.
    """
    n_layers = len(model.layers)
    if not -n_layers <= layer < n_layers:
        raise ConfigError(f"The model has the layers 0 to {n_layers - 1}; there is no layer {layer}.")
    part, noted = model.layers[layer].feed_forward, {"w_gate": [], "w_up": []}
    hooks = [
        getattr(part, name).register_forward_hook(lambda _, __, out, seen=seen: seen.append(out[0, 1:].float().cpu()))
        for name, seen in noted.items()
    ]
    words = []
    try:
        for text in texts:
            ids = tokenizer.encode(text, bos=True)[: model.config.max_seq_len]
            model(torch.tensor([ids], device=model.device))
            words += [tokenizer.decode([i]).strip() for i in ids[1:]]  # the begin sign is no word
    finally:
        for hook in hooks:
            hook.remove()
    found = {}
    for kind, members in (word_kinds() if kinds is None else kinds).items():
        chosen = torch.tensor([word in members for word in words], dtype=torch.bool)
        if 0 < chosen.sum() < len(words):
            found[kind] = chosen
    if not found:
        raise ConfigError(f"None of the {len(words)} words read is of a known kind; give other texts or kinds.")
    return Neurons(layer % n_layers, words, torch.cat(noted["w_gate"]), torch.cat(noted["w_up"]), found)


def labels(width: float, height: float, activation: str) -> list[tuple[float, float, float, float]]:
    """Level, gate, value and slope for the number on each line of the map: on the right where a ray cuts the lines, on
    the left where the leak is deepest."""
    right, left = torch.linspace(0, width, 400), torch.linspace(-width, 0, 400)
    ray = 1.6 * height / width * right  # steeper than most clouds of words, so that they leave the numbers free
    heights, leak = product(right, ray, activation), GATES[activation](left)
    places, deepest = [], leak.argmin().item()
    for level in LEVELS:
        reached = (heights >= abs(level)).nonzero()
        if len(reached) and reached[0].item() < 390:
            at = reached[0].item()
            gate = right[at - 1 : at + 1]
            value = level / GATES[activation](gate)
            places.append((level, gate[1].item(), value[1].item(), (value.diff() / gate.diff()).item()))
        value = level / leak[deepest].item() if leak[deepest] < -1e-3 else math.inf
        if abs(value) < 0.93 * height:
            places.append((level, left[deepest].item(), value, 0.0))
    return places


def draw_contours(ax: Axes, width: float, height: float, activation: str = "SiLU"):
    """The map: lines of equal activation(gate) · value, each with its number; negative ones are dashed.

    On the line of a level the value is level / activation(gate). Below a gate of zero that has another sign, so each
    line has two branches; what leaves the map is cut off a little outside of it.
    """
    right = torch.linspace(0, width, 401)[1:]
    branches, looks = [], []
    for level in LEVELS:
        for gate in (right, -right):
            value = (level / GATES[activation](gate)).clamp(-2 * height, 2 * height)
            branches.append(torch.stack((gate, value), dim=1).numpy())
            looks.append((plots.BLUE, "-") if level > 0 else (plots.RED, "--"))
    colours, styles = zip(*looks, strict=True)
    ax.add_collection(LineCollection(branches, colors=colours, linestyles=styles, linewidths=1), autolim=False)
    ax.set(xlim=(-width, width), ylim=(-height, height), xlabel="gate", ylabel="value")
    for level, gate, value, slope in labels(width, height, activation):
        look = dict(color=plots.BLUE if level > 0 else plots.RED, fontsize=8, ha="center", va="center_baseline")
        along = dict(rotation=math.degrees(math.atan(slope)), rotation_mode="anchor", transform_rotates_text=True)
        paper = dict(facecolor="white", edgecolor="none", pad=1.5)
        ax.text(gate, value, f"{level:g}".replace("-", "−"), bbox=paper, clip_on=True, **look, **along)
    ax.axhline(0, color=plots.GREY, lw=0.6)
    ax.axvline(0, color=plots.GREY, lw=0.6)
    ax.grid(visible=False)


def few(chosen: Tensor) -> Tensor:
    """At most DRAWN of the places where `chosen` is True, evenly spread."""
    places = chosen.nonzero()[:, 0]
    return places[:: math.ceil(len(places) / DRAWN)]


def spread(values: Tensor) -> tuple[float, float, float]:
    """The values that 10, 50 and 90 % lie below."""
    return tuple(torch.quantile(values, torch.tensor([0.1, 0.5, 0.9])).tolist())


class Landscape(Picture):
    """Left: the map with one neuron's words on it. Right: how far the gate opens for each kind of words."""

    def __init__(self, neurons: Neurons):
        self.neurons = neurons
        self.ranking = {kind: neurons.most_selective(kind) for kind in neurons.kinds}
        self.wins = {kind: neurons.selectivity(kind).tolist() for kind in neurons.kinds}
        rest = ~torch.stack(list(neurons.kinds.values())).any(0)
        self.rows = {**neurons.kinds, "all the rest": rest} if rest.any() else dict(neurons.kinds)
        self.size = [1.1 * side for side in neurons.extent]  # one map for all neurons, so that they can be compared

    def still(self, kind: str, rank: int, activation: str = "SiLU"):
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
        title = f"{activation}(gate) · value, layer {self.neurons.layer}, neuron "
        left.text(0.7, 1.02, title, ha="right", **above)
        self.number = left.text(0.7, 1.02, "", animated=True, **above)
        left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=2, handletextpad=0.2)

        self.ranges = right.add_collection(LineCollection([], lw=3, animated=True), autolim=False)
        self.middles = []
        for colour, marker in ((plots.GREY, "o"), (plots.ORANGE, "^")):
            self.middles += right.plot([], [], marker, color=colour, ms=8, mec="white", animated=True)
        right.axvline(0, color=plots.GREY, lw=0.8)
        right.set_yticks(range(len(self.rows)), list(self.rows), fontsize=8)
        right.set(xlim=(-self.size[0], self.size[0]), ylim=(len(self.rows) - 0.5, -0.5))
        right.grid(visible=False, axis="y")
        right.set(xlabel="gate: the middle word, and 10 to 90 % of them")

    def move(self, kind: str, rank: int, activation: str = "SiLU") -> str:
        neurons, neuron = self.neurons, self.ranking[kind][rank - 1]
        chosen, gate, value = neurons.kinds[kind], neurons.gate[:, neuron], neurons.value[:, neuron]
        x, y = gate.clamp(-self.size[0], self.size[0]), value.clamp(-self.size[1], self.size[1])
        for points, members in zip(self.points, (~chosen, chosen), strict=True):
            at = few(members)
            points.set_data(x[at], y[at])
        self.number.set_text(f"{neuron}")

        spreads = {name: spread(x[members]) for name, members in self.rows.items()}
        self.ranges.set_segments([[(low, y), (high, y)] for y, (low, _, high) in enumerate(spreads.values())])
        self.ranges.set_color([plots.ORANGE if name == kind else plots.GREY for name in spreads])
        for dots, mine in zip(self.middles, (False, True), strict=True):
            found = [(middle, y) for y, (name, (_, middle, _)) in enumerate(spreads.items()) if (name == kind) == mine]
            dots.set_data(*zip(*found, strict=True))

        beyond = ((x != gate) | (y != value)).sum().item()
        small = product(gate, value, activation).abs() < 0.1
        return (
            f"Layer {neurons.layer}, neuron {neuron}, number {rank} for {kind}: {kind} open its gate wider than other "
            f"words in {100 * self.wins[kind][neuron]:.0f} of 100 pairs. Widest open for: "
            f"{', '.join(neurons.top_words(neuron))}. With {activation} next to nothing (below 0.1) passes at "
            f"{100 * small[chosen].double().mean():.0f} % of the {kind} and "
            f"{100 * small[~chosen].double().mean():.0f} % of the other words."
            + (f" Of all {len(gate):,} words {beyond} lie beyond the map and stand on its edge." if beyond else "")
        )


def gate_landscape(neurons: Neurons, kind: str = "colours") -> Panel:
    """The panel: a kind of words, the neuron by its rank for that kind, and the curve of the gate."""
    if kind not in neurons.kinds:
        raise ConfigError(f"The texts have no {kind!r}; there are {', '.join(neurons.kinds)}.")
    return Panel(
        Landscape(neurons),
        width=9.5,
        height=4,
        name="gate landscape",
        kind=Choice(kind, list(zip(neurons.kinds, neurons.kinds, strict=True)), "kind of words"),
        rank=Slider(1, 1, neurons.gate.shape[1], label="neuron, by rank"),
        activation=Choice("SiLU", list(zip(GATES, GATES, strict=True)), "gate"),
    )


def found(neurons: Neurons, neuron: int | None, kind: str, bar: float = 0.9) -> str:
    """Judge a learner's choice: a sentence on how selective this neuron is for a kind of words."""
    if neuron is None:
        return "not yet"
    size = neurons.gate.shape[1]
    with suppress(TypeError):  # a number of NumPy's, or a tensor that holds one
        neuron = neuron if isinstance(neuron, bool) else operator.index(neuron)
    if isinstance(neuron, bool) or not isinstance(neuron, int) or not 0 <= neuron < size:
        return f"A neuron is a whole number from 0 to {size - 1}, found {neuron!r}."
    wins = neurons.selectivity(kind)[neuron].item()
    verdict = "found" if wins >= bar else f"not selective enough, {100 * bar:.0f} are asked"
    words = ", ".join(neurons.top_words(neuron))
    return f"{verdict}: {kind} win {100 * wins:.1f} of 100 pairs at neuron {neuron}; it opens most for {words}."
