"""The pictures of lesson 01: a norm on large and small input, its gradient, and the residual stream over layers."""

import math
from functools import cache

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

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

    >>> short(0.71312), short(1372.4)
    ('0.713', '1,372')
    """
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def draw_layers(ax: Axes) -> str:
    """RMS of the residual stream after each of 32 random layers, without a norm and with one. Returns the reading."""
    layers = range(1, DEPTH + 1)
    without, normed = rms_by_layer(False), rms_by_layer(True)
    ax.plot(layers, without, color=plots.ORANGE, ls="--", label="without a norm")
    ax.plot(layers, normed, color=plots.BLUE, label="each layer norms its input")
    ax.set(yscale="log", xlabel="after layer", ylabel="RMS of the residual stream")
    ax.minorticks_off()
    ax.legend()
    return (
        f"RMS of the residual stream after each of {DEPTH} random layers, on a logarithmic axis. After the last layer "
        f"it is about {round(without[-1], -3):,.0f} without a norm and {normed[-1]:.1f} with one."
    )


def draw_right_angle(ax: Axes) -> str:
    """A token of two channels, the circle of all tokens of its length, and a gradient through RMSNorm.

    The loss is the sum of the cubes of the norm's two outputs. Returns the reading.
    """
    x = torch.tensor([2.0, 1.0], requires_grad=True)
    rms_norm(x, torch.ones(2), 0.0).pow(3).sum().backward()
    (a, b), (slope_a, slope_b) = x.tolist(), (2 * x.grad).tolist()
    ax.add_patch(Circle((0, 0), math.hypot(a, b), fill=False, ls=":", ec=plots.GREY))
    for start, move, colour, words, at in (
        ((0, 0), (a, b), plots.BLUE, "x", (0.9, 0.7)),
        ((a, b), (slope_a, slope_b), plots.ORANGE, "gradient", (a + slope_a + 0.1, b + slope_b)),
    ):
        end = [value + step for value, step in zip(start, move, strict=True)]
        ax.annotate("", end, start, arrowprops=dict(arrowstyle="-|>", color=colour, lw=2, shrinkA=0, shrinkB=0))
        ax.text(*at, words, color=colour, fontsize=11)
    ax.set(aspect="equal", xlim=(-2.5, 4.2), ylim=(-2.5, 2.5), xlabel="channel 0", ylabel="channel 1")
    return (
        "A token x of two channels is an arrow from the centre of a circle to its edge. The gradient of a loss after "
        "RMSNorm starts there and touches the circle: the two arrows are at a right angle."
    )


class Knob(Picture):
    """One token's channels before the norm, on a logarithmic axis, and after it."""

    def build(self, figure: Figure, **values):
        margins = dict(left=0.085, right=0.98, bottom=0.18, top=0.89, wspace=0.22)
        before, after = figure.subplots(1, 2, gridspec_kw=margins)
        self.bars, self.rms = [], []
        titles = (before, "before: RMS ", 0.58, plots.ORANGE), (after, "after RMSNorm: RMS ", 0.68, plots.BLUE)
        for ax, title, end, colour in titles:
            self.bars.append(ax.bar(range(CHANNELS), [0] * CHANNELS, color=colour, animated=True))
            ax.axhline(0, color=plots.GREY, lw=0.8)
            ax.set(xlabel="channel", xticks=range(CHANNELS))
            beside = dict(fontsize=10, transform=ax.transAxes)
            ax.text(end, 1.03, title, ha="right", **beside)
            self.rms.append(ax.text(end, 1.03, "", animated=True, **beside))
        before.set_yscale("symlog", linthresh=1e-3)  # a fixed axis from −10,000 to 10,000: the bars move, not the axis
        before.set(ylim=(-1e4, 1e4))
        before.set_yticks(
            [-1000, -1, -0.001, 0, 0.001, 1, 1000], ["−1,000", "−1", "−0.001", "0", "0.001", "1", "1,000"], fontsize=9
        )
        before.minorticks_off()
        after.set_ylim(-3, 3)

    def move(self, gain: float = 1.0, offset: float = 0.0) -> str:
        x = gain * (torch.randn(CHANNELS, generator=torch.Generator().manual_seed(3)) + offset)
        y = rms_norm(x, torch.ones(CHANNELS))
        for text, bars, heights in zip(self.rms, self.bars, (x, y), strict=True):
            text.set_text(short(rms(heights)))
            for bar, height in zip(bars, heights.tolist(), strict=True):
                bar.set_height(height)
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
