"""The clock wall of lesson 02: how RoPE rotates queries and keys, and why their score depends only on the distance."""

import math
from functools import cache

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from .. import plots
from ..errors import ConfigError
from ..experiments.variants import sinusoids
from ..models.rope import rotate
from .controls import Slider
from .panel import Panel
from .picture import Picture

HEAD_DIM, BASE, SHIFTS, POSITIONS = 16, 10000.0, 200, 301  # positions 0 to 300


@cache
def query_and_key() -> tuple[torch.Tensor, torch.Tensor]:
    """A query and a key, the same at every position, (d,) each. Their length is 4, so a random pair scores about 4."""
    q, k = torch.randn(2, HEAD_DIM, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return 4 * q / q.norm(), 4 * k / k.norm()


def speeds(base: float, head_dim: int = HEAD_DIM) -> torch.Tensor:
    """Radians per position for each pair, (d/2,). They are in 64 bits, so that no rounding shows in the picture."""
    return base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


@cache
def rotated(base: float = BASE) -> tuple[torch.Tensor, torch.Tensor]:
    """The query and the key, rotated by RoPE at each position, (POSITIONS, d) each."""
    angle = torch.outer(torch.arange(POSITIONS, dtype=torch.float64), speeds(base))
    table = torch.stack((angle.cos(), angle.sin()))
    return tuple(rotate(vector.expand(POSITIONS, -1), table) for vector in query_and_key())


@cache
def added() -> tuple[torch.Tensor, torch.Tensor]:
    """The query and the key plus a random vector per position, as a learned table has them before training.

    (POSITIONS, d) each.
    """
    table = 0.5 * torch.randn(2, POSITIONS, HEAD_DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return tuple(vector + row for vector, row in zip(query_and_key(), table, strict=True))


@cache
def with_sinusoids() -> tuple[torch.Tensor, torch.Tensor]:
    """The query and the key plus the sinusoidal vector of each position, (POSITIONS, d) each."""
    table = sinusoids(POSITIONS, HEAD_DIM).double()
    return tuple(vector + table for vector in query_and_key())


KINDS = {"rope": rotated, "sinusoidal": with_sinusoids, "learned": added}


@cache
def score_grid(kind: str = "rope", positions: int = POSITIONS) -> torch.Tensor:
    """score[m, n] of the query at position m with the key at position n, (positions, positions).

    kind: one of KINDS. "learned" is such a table before training.
    """
    q, k = KINDS[kind]()
    return q[:positions] @ k[:positions].T


def diagonal_spread(grid: torch.Tensor) -> float:
    """Largest minus smallest score of equal distance m − n, that is along a diagonal; the largest of these differences.

    >>> diagonal_spread(torch.tensor([[1.0, 5.0], [0.0, 3.5]]))
    2.5
    """
    size = len(grid)
    return max((d.max() - d.min()).item() for d in (grid.diagonal(offset) for offset in range(1 - size, size)))


def draw_grid(ax: Axes, grid: torch.Tensor, title: str):
    """A heat map of scores (n, n) with their numbers; one diagonal is framed."""
    size = len(grid)
    ax.imshow(grid, cmap="cividis", vmin=-8, vmax=8)
    for m in range(size):
        for n in range(size):
            value = grid[m, n].item()
            ax.text(
                n,
                m,
                f"{value:.1f}".replace("-", "−"),
                ha="center",
                va="center",
                fontsize=8,
                color="black" if value > 0 else "white",
            )
    for n in range(size - 2):
        ax.add_patch(Rectangle((n - 0.5, n + 1.5), 1, 1, fill=False, ec=plots.RED, lw=1.6))
    ax.set(title=title, xlabel="position n of the key", ylabel="position m of the query")
    ax.set_xticks(range(size))
    ax.set_yticks(range(size))
    ax.grid(visible=False)


def draw_kinds(axes: list[Axes], positions: int = 8) -> str:
    """A grid of scores for each of KINDS. Returns the reading."""
    titles = "RoPE", "sinusoidal vector added", "learned vector added, untrained"
    parts = []
    for ax, kind, title in zip(axes, KINDS, titles, strict=True):
        grid = score_grid(kind, positions)
        draw_grid(ax, grid, title)
        parts.append(f"{title}: {diagonal_spread(grid):.1f}")
    return f"Scores of equal distance, that is on one diagonal, differ by at most: {'; '.join(parts)}."


def wedge(x: float, y: float, start: float, angle: float, radius: float = 0.5) -> list[tuple[float, float]]:
    """The corners of a piece of a disc around (x, y), from `start` on by `angle` radians the shorter way round."""
    angle = math.remainder(angle, 2 * math.pi)
    turns = [start + angle * step / 8 for step in range(9)]
    return [(x, y), *((x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns)]


class Wall(Picture):
    """Left: a clock for each pair, with a hand for query and key. Right: their score while both move.

    A wedge shows the angle between the two hands of a clock. Moving texts are slow to draw, so there is only one.
    """

    def build(self, figure: Figure, **values):
        margins = dict(left=0.01, right=0.98, bottom=0.14, top=0.91, wspace=0.12)
        left, right = figure.subplots(1, 2, width_ratios=[1.35, 1], gridspec_kw=margins)
        self.centres = [(2.5 * (pair % 4), -2.8 * (pair // 4)) for pair in range(HEAD_DIM // 2)]
        for pair, (x, y) in enumerate(self.centres):
            left.add_patch(Circle((x, y), 1, fill=False, ec=plots.GREY))
            left.text(x, y + 1.08, f"pair {pair}", ha="center", va="bottom", fontsize=9)
        left.set(aspect="equal", xlim=(-1.2, 8.7), ylim=(-5.3, 1.6))
        left.axis("off")
        self.wedges = left.add_collection(
            PolyCollection([], animated=True, color=plots.GREY, alpha=0.45), autolim=False
        )
        self.hands = {}
        for (
            vector,
            x,
            length,
            style,
        ) in (  # the query's hand is shorter and thinner, so that both are seen where they meet
            ("key", 4.4, 1.0, dict(color=plots.ORANGE, lw=6, alpha=0.6)),
            ("query", 0.4, 0.7, dict(color=plots.BLUE, lw=2)),
        ):
            left.plot([x, x + 0.6], 2 * [-4.4], **style)
            left.text(x + 0.8, -4.4, f"hand of the {vector}", va="center", fontsize=9)
            hand = left.add_collection(LineCollection([], animated=True, **style), autolim=False)
            self.hands[vector] = hand, length
        left.text(6.2, -5.1, "angle between the hands, pair 0 to pair 7:", ha="right", va="center", fontsize=9)
        self.apart = left.text(6.35, -5.1, "", va="center", fontsize=9, animated=True)

        self.curves = {}
        for kind, label, style in (
            ("learned", "an added vector, learned (untrained)", dict(color=plots.ORANGE, ls="--", lw=1)),
            ("sinusoidal", "an added vector, sinusoidal", dict(color=plots.GREEN, lw=1)),
            ("rope", "RoPE", dict(color=plots.BLUE, lw=2)),
        ):
            (self.curves[kind],) = right.plot([], [], label=label, animated=True, **style)
        (self.dot,) = right.plot([], [], "o", color=plots.BLUE, ms=8, mec="white", animated=True)
        right.set(xlabel="both words moved right by", title="score q · k", xlim=(-10, SHIFTS + 10), ylim=(-15, 20))
        right.legend(fontsize=8, loc="upper right")

    def move(self, m: int = 12, n: int = 5, shift: int = 0) -> str:
        positions = {"query": m + shift, "key": n + shift}
        if not all(0 <= position - shift <= position < POSITIONS for position in positions.values()):
            raise ConfigError(
                f"The wall has positions 0 to {POSITIONS - 1}, found the query at {m + shift} and the key at "
                f"{n + shift}; choose smaller numbers."
            )
        for vector, (hand, length) in self.hands.items():
            angles = (positions[vector] * speeds(BASE)).tolist()
            hand.set_segments(
                [
                    [(x, y), (x + length * math.cos(angle), y + length * math.sin(angle))]
                    for (x, y), angle in zip(self.centres, angles, strict=True)
                ]
            )
        between = ((m - n) * speeds(BASE)).tolist()
        starts = (positions["key"] * speeds(BASE)).tolist()
        self.wedges.set_verts(
            [wedge(*at, start, angle) for at, start, angle in zip(self.centres, starts, between, strict=True)]
        )
        self.apart.set_text(f"{between[0]:.3g} to {between[-1]:.2g} rad".replace("-", "−"))
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
    """The panel: the positions of query and key, and how far both are moved."""
    return Panel(
        Wall(),
        width=9.5,
        height=3.8,
        name="clock wall",
        m=Slider(12, 0, 100, label="query at m"),
        n=Slider(5, 0, 100, label="key at n"),
        shift=Slider(0, 0, SHIFTS, label="move both by"),
    )
