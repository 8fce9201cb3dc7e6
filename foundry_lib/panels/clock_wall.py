"""The clock wall of lesson 02: how RoPE turns queries and keys, and why their score sees only the distance."""

import math
from functools import cache

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from .. import plots
from ..rope import rotate
from .panel import Choice, Panel, Slider

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


def draw_clock(ax: Axes, x: float, y: float, label: str, angles: dict[str, float]):
    """A dial of radius 1 at (x, y), a hand for the query and one for the key; angle 0 points to the right."""
    ax.add_patch(Circle((x, y), 1, fill=False, ec=plots.GREY))
    ax.text(x, y + 1.08, label, ha="center", va="bottom", fontsize=8)
    styles = {"key": dict(color=plots.ORANGE, lw=3.2, ls="--"), "query": dict(color=plots.BLUE, lw=2)}
    for word, style in styles.items():
        angle = angles[word]
        ax.plot([x, x + 0.92 * math.cos(angle)], [y, y + 0.92 * math.sin(angle)], label=word, **style)


def draw(figure: Figure, m: int = 12, n: int = 5, shift: int = 0) -> str:
    """Left: a clock for each pair, a hand for each word. Right: their score while both words move."""
    m, n = m + shift, n + shift
    if not all(0 <= place - shift <= place < PLACES for place in (m, n)):
        raise ValueError(f"The wall has places 0 to {PLACES - 1}; query at {m} and key at {n} do not fit.")
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    for pair, speed in enumerate(speeds(BASE).tolist()):
        draw_clock(left, 2.5 * (pair % 4), -2.75 * (pair // 4), f"pair {pair}", {"query": m * speed, "key": n * speed})
    left.set(aspect="equal", xlim=(-1.2, 8.7), ylim=(-4.8, 1.6))
    left.axis("off")
    left.legend(*(found[:2] for found in left.get_legend_handles_labels()), fontsize=8, loc="lower center", ncols=2)
    grids = {kind: score_grid(kind) for kind in ("rope", "added")}
    start_m, start_n = m - shift, n - shift
    for kind, label, style in (
        ("added", "a vector added for each place", dict(color=plots.ORANGE, ls="--", lw=1)),
        ("rope", "RoPE", dict(color=plots.BLUE, lw=2)),
    ):
        scores = [grids[kind][start_m + s, start_n + s].item() for s in range(SHIFTS + 1)]
        right.plot(range(SHIFTS + 1), scores, label=label, **style)
    score = grids["rope"][m, n].item()
    right.plot([shift], [score], "o", color=plots.BLUE, ms=8, mec="white")
    right.set(xlabel="both words moved right by", title="score q · k", ylim=(-14, 14))
    right.legend(fontsize=8, loc="upper right")
    spread = max(scores) - min(scores)
    return (
        f"Query at {m}, key at {n}, distance {m - n}: score {score:.3f}. "
        f"Over all {SHIFTS} moves of both, the score changes by at most {spread:.5f}."
    )


def clock_wall() -> Panel:
    """The panel: the places of query and key, and how far both are moved."""
    return Panel(
        draw,
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


def draw_hands(figure: Figure, base: float = 10000.0, context: int = 512) -> str:
    """Left: how often each hand goes round in the context. Right: where two of the hands stand at each distance."""
    found = turns(base, context)
    left, right = figure.subplots(1, 2)
    for fast, colour, hatch, label in (
        (True, plots.ORANGE, "///", "goes round"),
        (False, plots.BLUE, "", "never goes round"),
    ):
        chosen = [i for i, value in enumerate(found.tolist()) if (value >= 1) == fast]
        left.bar(chosen, found[chosen].tolist(), color=colour, hatch=hatch, edgecolor="white", label=label)
    left.axhline(1, color=plots.GREY, ls="--", lw=1)
    left.set(yscale="log", ylim=(1e-4, 1e4), xlabel="pair", title=f"turns in {context:,} places")
    left.set_xticks(range(len(found)))
    left.set_axisbelow(True)
    left.minorticks_off()
    left.legend(fontsize=8, loc="upper right")
    places = torch.linspace(0, context, 2001, dtype=torch.float64)
    for pair, style in ((HEAD_DIM // 4, dict(color=plots.ORANGE, ls="--", lw=1)), (-1, dict(color=plots.BLUE, lw=2))):
        part = (places * found[pair] / context) % 1
        part[1:][part.diff() < 0] = math.nan  # no line back from 1 to 0
        right.plot(places, part, label=f"pair {pair % len(found)}", **style)
    right.set(xlabel="distance", ylim=(0, 1), title="where the hand stands, in turns")
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    rounds, slowest = int((found >= 1).sum()), found[-1].item()
    return (
        f"Base {base:,.0f}, {context:,} places: {rounds} of {len(found)} hands go round. The slowest makes "
        f"{slowest:.3g} turns; it needs {context / slowest:,.0f} places for one."
    )


def hands() -> Panel:
    """The panel: base from 10 to a million, and the length of the context."""
    return Panel(
        draw_hands,
        width=9.5,
        height=3.2,
        name="fast and slow hands",
        base=Slider(10000.0, 10.0, 1e6, log=True),
        context=Choice(512, {f"{places:,} places": places for places in (64, 256, 512, 2048, 8192)}),
    )
