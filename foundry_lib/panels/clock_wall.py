"""The clock wall of lesson 02: how RoPE turns queries and keys, and why their score sees only the distance."""

import math
from functools import cache

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from .. import plots
from ..errors import ConfigError
from ..models.rope import rotate
from .controls import Choice, Slider
from .panel import Panel
from .picture import Picture

HEAD_DIM, BASE, SHIFTS, PLACES = 16, 10000.0, 200, 301  # places 0 to 300


@cache
def words() -> tuple[torch.Tensor, torch.Tensor]:
    """A query and a key, the same at every place, each of length 4, so that a random pair scores about 4."""
    q, k = torch.randn(2, HEAD_DIM, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return 4 * q / q.norm(), 4 * k / k.norm()


def speeds(base: float, head_dim: int = HEAD_DIM) -> torch.Tensor:
    """Radians a place of each pair, (d/2,) in 64 bits, so that what remains of rounding is not seen."""
    return base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


@cache
def turned(base: float = BASE) -> tuple[torch.Tensor, torch.Tensor]:
    """The query and the key as RoPE makes them at each place, (PLACES, d) each."""
    angle = torch.outer(torch.arange(PLACES, dtype=torch.float64), speeds(base))
    table = torch.stack((angle.cos(), angle.sin()))
    return tuple(rotate(word.expand(PLACES, -1), table) for word in words())


@cache
def added() -> tuple[torch.Tensor, torch.Tensor]:
    """The query and the key with a vector of its own added at each place: such a table is random before training."""
    table = 0.5 * torch.randn(2, PLACES, HEAD_DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return tuple(word + vectors for word, vectors in zip(words(), table, strict=True))


def score_grid(kind: str = "rope", places: int = PLACES) -> torch.Tensor:
    """score[m, n] of the query at place m with the key at place n; kind is "rope" or "added"."""
    q, k = turned() if kind == "rope" else added()
    return q[:places] @ k[:places].T


def diagonal_spread(grid: torch.Tensor) -> float:
    """Largest less smallest along each diagonal (equal distance m − n); the largest of these differences."""
    size = len(grid)
    return max((d.max() - d.min()).item() for d in (grid.diagonal(offset) for offset in range(1 - size, size)))


def draw_grid(ax: Axes, grid: torch.Tensor, title: str):
    """A heat map of scores with their numbers; one diagonal is framed."""
    size = len(grid)
    ax.imshow(grid, cmap="cividis", vmin=-8, vmax=8)
    for m in range(size):
        for n in range(size):
            value = grid[m, n].item()
            ax.text(n, m, f"{value:.1f}", ha="center", va="center", fontsize=7, color="black" if value > 0 else "white")
    for n in range(size - 2):
        ax.add_patch(Rectangle((n - 0.5, n + 1.5), 1, 1, fill=False, ec=plots.RED, lw=1.6))
    ax.set(title=title, xlabel="place n of the key", ylabel="place m of the query")
    ax.set_xticks(range(size))
    ax.set_yticks(range(size))
    ax.grid(visible=False)


class Wall(Picture):
    """Left: a clock for each pair, a hand for each word. Right: their score while both words move."""

    def build(self, figure: Figure, **values):
        margins = dict(left=0.01, right=0.98, bottom=0.14, top=0.91, wspace=0.12)
        left, right = figure.subplots(1, 2, width_ratios=[1.35, 1], gridspec_kw=margins)
        self.centres = [(2.5 * (pair % 4), -2.75 * (pair // 4)) for pair in range(HEAD_DIM // 2)]
        for pair, (x, y) in enumerate(self.centres):
            left.add_patch(Circle((x, y), 1, fill=False, ec=plots.GREY))
            left.text(x, y + 1.08, f"pair {pair}", ha="center", va="bottom", fontsize=8)
        left.set(aspect="equal", xlim=(-1.2, 8.7), ylim=(-4.8, 1.6))
        left.axis("off")
        self.hands = {}
        for word, style in (
            ("key", dict(color=plots.ORANGE, lw=3.2, ls="--")),
            ("query", dict(color=plots.BLUE, lw=2)),
        ):
            left.plot([], [], label=word, **style)  # for the legend
            self.hands[word] = left.add_collection(LineCollection([], animated=True, **style), autolim=False)
        left.legend(fontsize=8, loc="lower center", ncols=2)

        self.curves = {}
        for kind, label, style in (
            ("added", "a vector added for each place", dict(color=plots.ORANGE, ls="--", lw=1)),
            ("rope", "RoPE", dict(color=plots.BLUE, lw=2)),
        ):
            (self.curves[kind],) = right.plot([], [], label=label, animated=True, **style)
        (self.dot,) = right.plot([], [], "o", color=plots.BLUE, ms=8, mec="white", animated=True)
        right.set(xlabel="both words moved right by", title="score q · k", xlim=(-10, SHIFTS + 10), ylim=(-15, 15))
        right.legend(fontsize=8, loc="upper right")

    def move(self, m: int = 12, n: int = 5, shift: int = 0) -> str:
        places = {"query": m + shift, "key": n + shift}
        if not all(0 <= place - shift <= place < PLACES for place in places.values()):
            raise ConfigError(
                f"The wall has places 0 to {PLACES - 1}; query at {m + shift} and key at {n + shift} do not fit."
            )
        for word, hand in self.hands.items():
            angles = (places[word] * speeds(BASE)).tolist()
            hand.set_segments(
                [
                    [(x, y), (x + 0.92 * math.cos(angle), y + 0.92 * math.sin(angle))]
                    for (x, y), angle in zip(self.centres, angles, strict=True)
                ]
            )
        for kind, curve in self.curves.items():
            scores = score_grid(kind).diagonal(n - m)[min(m, n) :][: SHIFTS + 1]
            curve.set_data(range(len(scores)), scores)
        score = scores[shift].item()
        self.dot.set_data([shift], [score])
        spread = (scores.max() - scores.min()).item()
        return (
            f"Query at {m + shift}, key at {n + shift}, distance {m - n}: score {score:.3f}. "
            f"Over all {SHIFTS} moves of both, the score changes by at most {spread:.5f}."
        )


def clock_wall() -> Panel:
    """The panel: the places of query and key, and how far both are moved."""
    return Panel(
        Wall(),
        width=9.5,
        height=3.6,
        name="clock wall",
        m=Slider(12, 0, 100, label="query at m"),
        n=Slider(5, 0, 100, label="key at n"),
        shift=Slider(0, 0, SHIFTS, label="move both by"),
    )


# ---- Fast and slow hands


def turns(base: float, context: int, head_dim: int = HEAD_DIM) -> torch.Tensor:
    """How often each hand goes round in `context` places, (d/2,)."""
    return context * speeds(base, head_dim) / (2 * math.pi)


def course(turns: float) -> tuple[list[float], list[float]]:
    """Where a hand stands along the context, in turns from 0 to 1: the corners of a line; it breaks at each turn."""
    rounds = math.floor(turns)
    x, y = [], []
    for done in range(rounds):
        x += [done / turns, (done + 1) / turns, (done + 1) / turns]
        y += [0, 1, math.nan]
    return [*x, rounds / turns, 1], [*y, 0, turns - rounds]


class Hands(Picture):
    """Left: how often each hand goes round in the context. Right: where two of the hands stand at each distance."""

    PAIRS = HEAD_DIM // 2
    BOTTOM = 1e-4  # of the axis

    def build(self, figure: Figure, **values):
        margins = dict(left=0.06, right=0.88, bottom=0.17, top=0.9, wspace=0.16)
        left, right = figure.subplots(1, 2, gridspec_kw=margins)
        self.bars = {}  # goes round → a bar for each pair; one of the two has no height
        for fast, colour, hatch, label in (
            (True, plots.ORANGE, "///", "goes round"),
            (False, plots.BLUE, "", "never goes round"),
        ):
            look = dict(color=colour, hatch=hatch, edgecolor="white", label=label)
            self.bars[fast] = left.bar(range(self.PAIRS), [0] * self.PAIRS, animated=True, **look)
        left.axhline(1, color=plots.GREY, ls="--", lw=1)
        left.set(yscale="log", ylim=(self.BOTTOM, 1e4), xlabel="pair", title="turns in the context")
        left.set_xticks(range(self.PAIRS))
        left.minorticks_off()
        left.legend(fontsize=8, loc="upper right")
        self.lines = {}
        for pair, style in (
            (self.PAIRS // 2, dict(color=plots.ORANGE, ls="--", lw=1)),
            (self.PAIRS - 1, dict(color=plots.BLUE, lw=2)),
        ):
            (self.lines[pair],) = right.plot([], [], label=f"pair {pair}", animated=True, **style)
        right.set(xlim=(0, 1), ylim=(0, 1), xlabel="distance", title="where the hand stands, in turns")
        right.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", ""])
        self.end = right.text(1, -0.027, "", ha="center", va="top", transform=right.transAxes, animated=True)
        right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    def move(self, base: float = 10000.0, context: int = 512) -> str:
        found = turns(base, context).tolist()
        for pair, value in enumerate(found):
            for fast, bars in self.bars.items():
                bars[pair].set(visible=(value >= 1) == fast, y=self.BOTTOM, height=max(0.0, value - self.BOTTOM))
        for pair, line in self.lines.items():
            line.set_data(*course(found[pair]))
        self.end.set_text(f"{context:,}")
        rounds, slowest = sum(value >= 1 for value in found), found[-1]
        return (
            f"Base {base:,.0f}, {context:,} places: {rounds} of {len(found)} hands go round. The slowest makes "
            f"{slowest:.3g} turns; it needs {context / slowest:,.0f} places for one."
        )


# 10, 20, 50, 100, … a million: on a slider of powers a value like 500 would fall between two stops
BASES = [float(first * 10**power) for power in range(1, 6) for first in (1, 2, 5)] + [1e6]


def hands() -> Panel:
    """The panel: base from 10 to a million, and the length of the context."""
    return Panel(
        Hands(),
        width=9.5,
        height=3.2,
        name="fast and slow hands",
        base=Choice(10000.0, {f"{base:,.0f}": base for base in BASES}),
        context=Choice(512, {f"{places:,} places": places for places in (64, 256, 512, 2048, 8192)}),
    )
