"""The kv heads of lesson 03: bytes of the cache, and the measured quality."""

from functools import cache
from statistics import fmean

from matplotlib.figure import Figure

from .. import plots
from ..analysis.statistics import beyond_noise
from ..config import ModelConfig
from ..experiments import ablations
from .controls import Choice, Slider
from .panel import Panel
from .picture import Picture

STARTER = ModelConfig.preset("tiny", vocab_size=1536, tie_embeddings=True)  # the shape that the ablations trained
ROWS = {2: "whole model", 1: "one kv head"}  # kv heads → the row of the ablations with this number
HEADS = (4, 2, 1)


def cache_bytes(kv_heads: int, tokens: int) -> int:
    """Bytes of the cache of the starter's shape at 16 bits.

    >>> cache_bytes(1, 8192)
    2097152
    """
    return STARTER.with_(n_kv_heads=kv_heads).kv_cache_bytes_per_token * tokens


@cache
def seeds(kv_heads: int) -> list[float]:
    """Loss above the floor in per cent, one number per seed."""
    return ablations.by_row()[ROWS[kv_heads]]["all"]


class CacheQuality(Picture):
    """Left: the cache of each choice, exact. Right: the trained rows, each seed a dot."""

    def build(self, figure: Figure, **values):
        margins = dict(left=0.05, right=0.98, bottom=0.1, top=0.89, wspace=0.2)
        left, right = figure.subplots(1, 2, gridspec_kw=margins)
        names, columns = [f"{heads} kv" for heads in HEADS], range(len(HEADS))
        # The heights are shares of the largest cache: they are the same at any length of the text.
        heights = [cache_bytes(heads, 1) / cache_bytes(HEADS[0], 1) for heads in HEADS]
        self.bars = left.bar(columns, heights, edgecolor="white", animated=True)
        self.numbers = [
            left.text(x, height + 0.01, "", ha="center", va="bottom", animated=True)
            for x, height in zip(columns, heights, strict=True)
        ]
        left.set_xticks(columns, names)
        left.set(ylim=(0, 1.15), yticks=[], ylabel="KiB at 16 bits")
        left.set_title("cache of the whole text", fontsize=10)

        self.marks = {}
        for x, heads in enumerate(HEADS):
            if heads in ROWS:
                marker = "o" if heads == 2 else "s"
                (self.marks[heads],) = right.plot([x] * len(seeds(heads)), seeds(heads), marker, animated=True)
                right.plot([x - 0.2, x + 0.2], 2 * [fmean(seeds(heads))], color=plots.INK, lw=2, animated=True)
            else:
                right.text(x, 0.5, "not trained", ha="center", color=plots.GREY, fontsize=8)
        right.set_xticks(columns, names)
        right.set(xlim=(-0.5, len(HEADS) - 0.5), ylabel="% above the floor")
        right.set_title("the course's trainings: three seeds, bar = mean", fontsize=10)
        right.set_ylim(0, 1.15 * max(seeds(1) + seeds(2)))

    def move(self, kv_heads: int = 2, tokens: int = 256) -> str:
        for heads, bar, number in zip(HEADS, self.bars, self.numbers, strict=True):
            chosen = heads == kv_heads
            bar.set(facecolor=plots.BLUE if chosen else plots.SKY, hatch="" if chosen else "///")
            number.set_text(f"{cache_bytes(heads, tokens) / 1024:,.0f}")
        for heads, mark in self.marks.items():
            mark.set_color(plots.BLUE if heads == kv_heads else plots.SKY)

        size, most = cache_bytes(kv_heads, tokens), cache_bytes(STARTER.n_heads, tokens)
        reading = f"{kv_heads} kv head{'s' * (kv_heads > 1)}, {tokens:,} tokens: {size:,} bytes, "
        reading += f"{size / most:.0%} of what {STARTER.n_heads} need. "
        if kv_heads not in ROWS:
            return reading + "Its quality was not measured."
        values = seeds(kv_heads)
        reading += f"Measured: {fmean(values):.1f} % above the floor, seeds {min(values):.1f} to {max(values):.1f}. "
        verdict = "outside" if beyond_noise(*map(seeds, ROWS)) else "inside"
        return reading + f"The difference between 2 and 1 kv heads is {verdict} the spread of the seeds."


def cache_quality() -> Panel:
    """The panel: kv heads 4, 2 or 1, and the length of the text."""
    return Panel(
        CacheQuality(),
        width=8.5,
        height=3.2,
        name="kv heads",
        kv_heads=Choice(2, {f"{heads}": heads for heads in HEADS}, label="kv heads"),
        tokens=Slider(256, 16, 8192, 16, label="tokens"),
    )
