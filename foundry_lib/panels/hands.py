"""The hands of lesson 02: which of RoPE's hands go round in a context, and the angles of two of them."""

import math

import torch
from matplotlib.figure import Figure

from .. import plots
from .clock_wall import HEAD_DIM, speeds
from .controls import Choice
from .panel import Panel
from .picture import Picture

# 10, 20, 50, 100, … a million: on a slider of powers a base like 500 would fall between two stops
BASES = [float(first * 10**power) for power in range(1, 6) for first in (1, 2, 5)] + [1e6]


def turns(base: float, context: int, head_dim: int = HEAD_DIM) -> torch.Tensor:
    """How often each hand goes round in `context` positions, (d/2,).

    >>> round(turns(10000.0, 512)[0].item(), 1)  # pair 0 turns by one radian per position
    81.5
    """
    return context * speeds(base, head_dim) / (2 * math.pi)


def course(turns: float) -> tuple[list[float], list[float]]:
    """The angle of a hand along the context, in turns from 0 to 1: the corners of a line that breaks at each turn.

    >>> course(0.5)
    ([0.0, 1], [0, 0.5])
    """
    rounds = math.floor(turns)
    x, y = [], []
    for done in range(rounds):
        x += [done / turns, (done + 1) / turns, (done + 1) / turns]
        y += [0, 1, math.nan]
    return [*x, rounds / turns, 1], [*y, 0, turns - rounds]


MODELS = [  # name, base, channels of a head, trained length; sources: see the end of lesson 02
    ("our tales", 500, 32, 200),
    ("Llama 2", 10_000, 128, 4096),
    ("Llama 3", 500_000, 128, 8192),
    ("Qwen2.5 7B", 1_000_000, 128, 32_768),
]


def bases_table() -> str:
    """The bases of real models, how many positions the slowest hand needs for a turn, and how many hands go round."""
    lines = [f"{'model':<12}{'base':>10}{'trained length':>16}{'slowest turn':>14}{'hands that go round':>21}"]
    for name, base, head_dim, length in MODELS:
        counts = turns(base, length, head_dim)
        rounds, slowest = f"{int((counts >= 1).sum())} of {len(counts)}", length / counts[-1].item()
        lines.append(f"{name:<12}{base:>10,}{length:>16,}{slowest:>14,.0f}{rounds:>21}")
    return "\n".join(lines)


class Hands(Picture):
    """Left: how often each hand goes round in the context. Right: the angle of two of the hands at each distance."""

    PAIRS = HEAD_DIM // 2
    BOTTOM = 1e-4  # of the axis

    def build(self, figure: Figure, **values):
        margins = dict(left=0.06, right=0.88, bottom=0.17, top=0.9, wspace=0.16)
        left, right = figure.subplots(1, 2, gridspec_kw=margins)
        self.bars = {}  # goes round or not → a bar for each pair; one of a pair's two bars is invisible
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
        right.set(xlim=(0, 1), ylim=(0, 1), xlabel="distance", title="angle of the hand, in turns")
        right.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", ""])
        self.end = right.text(1, -0.027, "", ha="center", va="top", transform=right.transAxes, animated=True)
        right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    def move(self, base: float = 10000.0, context: int = 512) -> str:
        counts = turns(base, context).tolist()
        for pair, value in enumerate(counts):
            for fast, bars in self.bars.items():
                bars[pair].set(visible=(value >= 1) == fast, y=self.BOTTOM, height=max(0.0, value - self.BOTTOM))
        for pair, line in self.lines.items():
            line.set_data(*course(counts[pair]))
        self.end.set_text(f"{context:,}")
        rounds, slowest = sum(value >= 1 for value in counts), counts[-1]
        return (
            f"Base {base:,.0f}, {context:,} positions: {rounds} of {len(counts)} hands go round. The slowest makes "
            f"{slowest:.3g} turns; it needs {context / slowest:,.0f} positions for one."
        )


def hands() -> Panel:
    """The panel: base from 10 to a million, and the length of the context."""
    return Panel(
        Hands(),
        width=9.5,
        height=3.2,
        name="fast and slow hands",
        base=Choice(10000.0, {f"{base:,.0f}": base for base in BASES}),
        context=Choice(512, {f"{positions:,} positions": positions for positions in (64, 256, 512, 2048, 8192)}),
    )
