"""The volume knob of lesson 01: a norm on loud and on quiet input, and on the residual stream through the layers."""

from functools import cache

import torch
from matplotlib.figure import Figure

from .. import plots
from ..models.norm import rms_norm
from .controls import Slider
from .panel import Panel
from .picture import Picture

CHANNELS, DEPTH = 8, 32


def rms(x: torch.Tensor) -> torch.Tensor:
    """Root mean square over the last axis.

    >>> rms(torch.tensor([3.0, 4.0])) ** 2
    tensor(12.5000)
    """
    return x.pow(2).mean(-1).sqrt()


@cache
def rms_by_layer(normed: bool, depth: int = DEPTH, dim: int = 64, seed: int = 0) -> list[float]:
    """RMS of a residual stream after each of `depth` random layers.

    Every layer reads the residual stream, normed or unchanged, and adds its output.
    """
    generator = torch.Generator().manual_seed(seed)
    x, sizes = torch.randn(16, dim, generator=generator), []
    for _ in range(depth):
        matrix = torch.randn(dim, dim, generator=generator) / dim**0.5
        x = x + (rms_norm(x, torch.ones(dim)) if normed else x) @ matrix
        sizes.append(rms(x).mean().item())
    return sizes


def short(number: float) -> str:
    """Three digits, or the whole part of a number that has more.

    >>> short(0.71312), short(-1372.4)
    ('0.713', '-1,372')
    """
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


class Knob(Picture):
    """Left: one token's channels before and after the norm. Right: RMS of the residual stream over 32 layers."""

    def build(self, figure: Figure, **values):
        margins = dict(left=0.085, right=0.98, bottom=0.18, top=0.89, wspace=0.22)
        before, after, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.3], gridspec_kw=margins)
        self.bars, self.rms = [], []
        titles = (before, "before: RMS ", 0.62, plots.ORANGE), (after, "after RMSNorm: RMS ", 0.78, plots.BLUE)
        for ax, title, end, colour in titles:
            self.bars.append(ax.bar(range(CHANNELS), [0] * CHANNELS, color=colour, animated=True))
            ax.axhline(0, color=plots.GREY, lw=0.8)
            ax.set(xlabel="channel", xticks=range(CHANNELS))
            beside = dict(fontsize=10, transform=ax.transAxes)
            ax.text(end, 1.03, title, ha="right", **beside)
            self.rms.append(ax.text(end, 1.03, "", animated=True, **beside))
        # The left bars are shares of their largest number, and the axis names that number, so the axis does not move.
        before.set(ylim=(-1.05, 1.05), yticks=[-1, 0, 1], yticklabels=["", "0", ""])
        beside = dict(fontsize=10, ha="right", va="center", transform=before.get_yaxis_transform(), animated=True)
        self.ends = [before.text(-0.03, sign, "", **beside) for sign in (-1, 1)]
        after.set_ylim(-3, 3)
        layers = range(1, DEPTH + 1)
        right.plot(layers, rms_by_layer(False), color=plots.ORANGE, ls="--", label="layers read the stream as it is")
        right.plot(layers, rms_by_layer(True), color=plots.BLUE, label="layers read it normed")
        right.set(yscale="log", xlabel="layer")
        right.set_title("RMS of the stream", fontsize=10)
        right.minorticks_off()
        right.legend(fontsize=8)

    def move(self, gain: float = 1.0, offset: float = 0.0) -> str:
        x = gain * (torch.randn(CHANNELS, generator=torch.Generator().manual_seed(3)) + offset)
        y = rms_norm(x, torch.ones(CHANNELS))
        largest = x.abs().max().item()
        for bars, heights in zip(self.bars, (x / (largest or 1), y), strict=True):
            for bar, height in zip(bars, heights.tolist(), strict=True):
                bar.set_height(height)
        for text, number in zip((*self.rms, *self.ends), (rms(x), rms(y), -largest, largest), strict=True):
            text.set_text(short(number).replace("-", "−"))
        return f"Gain {gain:.4g}, offset {offset:.3g}: RMS {short(rms(x))} before, {rms(y).item():.3f} after."


def volume_knob() -> Panel:
    """The panel: gain from 0.001 to 1,000, offset from −2 to 2."""
    return Panel(
        Knob(),
        width=9.5,
        height=3,
        name="volume knob",
        gain=Slider(1.0, 1e-3, 1e3, log=True),
        offset=Slider(0.0, -2.0, 2.0, 0.1),
    )
