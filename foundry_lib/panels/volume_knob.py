"""The volume knob of lesson 01: what a norm does to loud and to quiet input, and to the stream through the layers."""

from functools import cache

import torch
from matplotlib.figure import Figure

from .. import plots
from ..norm import rms_norm
from .panel import Panel, Slider

CHANNELS, DEPTH = 8, 32


def rms(x) -> torch.Tensor:
    """Root mean square over the last axis."""
    return x.pow(2).mean(-1).sqrt()


@cache
def stream(normed: bool, depth: int = DEPTH, dim: int = 64, seed: int = 0) -> list[float]:
    """RMS of a stream to which `depth` random layers add, each reading it normed or as it is."""
    generator = torch.Generator().manual_seed(seed)
    x, found = torch.randn(16, dim, generator=generator), []
    for _ in range(depth):
        matrix = torch.randn(dim, dim, generator=generator) / dim**0.5
        x = x + (rms_norm(x, torch.ones(dim)) if normed else x) @ matrix
        found.append(rms(x).mean().item())
    return found


def draw(figure: Figure, gain: float = 1.0, offset: float = 0.0) -> str:
    """Left: one token's channels before and after. Right: the stream's RMS over 32 layers, with norm and without."""
    x = gain * (torch.randn(CHANNELS, generator=torch.Generator().manual_seed(3)) + offset)
    y = rms_norm(x, torch.ones(CHANNELS))
    before, after = rms(x).item(), rms(y).item()
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    for ax, values, title, colour in ((left, x, "before", plots.ORANGE), (middle, y, "after RMSNorm", plots.BLUE)):
        ax.bar(range(CHANNELS), values.tolist(), color=colour)
        ax.axhline(0, color=plots.GREY, lw=0.8)
        ax.set(title=f"{title}: RMS {rms(values).item():.3g}", xlabel="channel", xticks=range(CHANNELS))
    middle.set_ylim(-3, 3)
    without, with_norm = stream(False), stream(True)
    layers = range(1, DEPTH + 1)
    right.plot(layers, without, color=plots.ORANGE, ls="--", label="layers read the stream as it is")
    right.plot(layers, with_norm, color=plots.BLUE, label="layers read it normed")
    right.set(yscale="log", xlabel="layer", title="RMS of the stream")
    right.minorticks_off()
    right.legend(fontsize=8)
    return f"Gain {gain:.4g}, offset {offset:.3g}: RMS {before:.3g} before, {after:.3f} after."


def volume_knob() -> Panel:
    """The panel: gain from 0.001 to 1,000, offset from −2 to 2."""
    return Panel(
        draw,
        width=9.5,
        height=3,
        name="volume knob",
        gain=Slider(1.0, 1e-3, 1e3, log=True),
        offset=Slider(0.0, -2.0, 2.0, 0.1),
    )
