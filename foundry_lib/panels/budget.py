"""The budget of lesson 05: a model's parameters by part, and the operations of a token and of a training."""

from matplotlib.figure import Figure

from .. import plots
from ..config import PRESETS, ModelConfig
from .controls import Choice
from .panel import Panel
from .picture import Boxes, Picture

# part → (colour, hatch); the hatch means the same as the colour. It has straight lines: dots take six times as long.
LOOK = {
    "embedding": (plots.BLUE, ""),
    "attention": (plots.ORANGE, "///"),
    "feed_forward": (plots.GREEN, "---"),
    "norms": (plots.RED, ""),
    "head": (plots.SKY, "+++"),
}
NAMES = {"feed_forward": "feed-forward", "norms": "norms (thin)", "head": "own head"}
STEPS, BATCH, CONTEXT = 1600, 8, 200  # a training by the tales' recipe
SPEED = 45e9  # operations per second; the runs in data/tales_runs.jsonl reached 26 to 55e9 on one thread
VOCABULARIES = [512, 1536, 4096, 8192, 32768]


def training_seconds(config: ModelConfig) -> float:
    """An estimate: the work of three forward passes for every token of the training, at SPEED."""
    return 3 * config.flops_per_token * STEPS * BATCH * CONTEXT / SPEED


def short(number: float) -> str:
    """A number with three digits and its unit.

    >>> short(7145728), short(512)
    ('7.15 M', '512')
    """
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


COSTS = (  # title, a number of a configuration, how it is written
    ("operations for one token", lambda config: config.flops_per_token, short),
    ("KV cache, bytes per token", lambda config: config.kv_cache_bytes_per_token, "{:,}".format),
)
ROWS = ("tied head", "own head")


class Budget(Picture):
    """Left: parameters by part, with tied and with own head. Right: the work, beside that of the default configuration.

    Lengths are shares of the longest bar, so that axes and names do not move. A text costs most of all to draw, so the
    numbers of the parts are written once, under their names, and not on both bars.
    """

    def build(self, figure: Figure, **values):
        margins = dict(left=0.095, right=0.99, bottom=0.06, wspace=0.24)
        bars = figure.add_gridspec(1, 2, width_ratios=[2.3, 1], top=0.66, **margins)
        costs = figure.add_gridspec(2, 2, width_ratios=[2.3, 1], top=0.88, hspace=0.7, **margins)
        names = figure.add_gridspec(1, 2, width_ratios=[2.3, 1], **margins | dict(bottom=0.68, top=0.9))
        self.build_parts(figure.add_subplot(bars[0]))
        self.costs = [self.build_cost(figure.add_subplot(costs[row, 1]), *cost) for row, cost in enumerate(COSTS)]
        self.build_names(figure.add_subplot(names[0]))

    def build_parts(self, ax):
        """A bar for each row, cut into the parts, and its total."""
        self.parts = {
            part: ax.add_patch(Boxes(fc=colour, hatch=hatch, ec="white", animated=True))
            for part, (colour, hatch) in LOOK.items()
        }
        self.totals = [ax.text(0, y, "", va="center", fontsize=9, animated=True) for y in range(len(ROWS))]
        ax.set_yticks(range(len(ROWS)), ROWS)
        ax.set(xlim=(0, 1.12), ylim=(-0.5, 1.5), xticks=[])
        ax.grid(visible=False)

    def build_names(self, ax):
        """The names of the parts with their colours, and room for a number under each."""
        ax.set(xlim=(0, len(LOOK)), ylim=(0, 2), title="parameters")
        ax.set_axis_off()
        self.numbers = {}
        for x, (part, (colour, hatch)) in enumerate(LOOK.items()):
            ax.barh(1.5, 0.14, 0.5, left=x, color=colour, hatch=hatch, edgecolor="white")
            ax.text(x + 0.18, 1.5, NAMES.get(part, part), va="center", fontsize=8)
            self.numbers[part] = ax.text(x + 0.18, 0.6, "", va="center", fontsize=9, animated=True)

    def build_cost(self, ax, title, cost, written):
        """The bar of the default, and below it this model's; the number of the default does not move."""
        look = dict(color=[plots.GREY, plots.BLUE], animated=True)
        bars = ax.barh([0, 1], [0, 0], **look)
        ax.text(1.42, 0, written(cost(ModelConfig())), ha="right", va="center", fontsize=8)
        ax.set(xlim=(0, 1.45), ylim=(1.5, -0.5), xticks=[], yticks=[0, 1], yticklabels=["the default", "this one"])
        ax.set_title(title, fontsize=9)
        ax.tick_params(axis="y", labelsize=8)
        ax.grid(visible=False)
        return bars, ax.text(1.42, 1, "", ha="right", va="center", fontsize=8, animated=True)

    def move(self, preset: str = "small", vocab_size: int = 8192, n_kv_heads: int = 4) -> str:
        own, tied = (
            ModelConfig.preset(preset, vocab_size=vocab_size, n_kv_heads=n_kv_heads, tie_embeddings=tie)
            for tie in (False, True)
        )
        boxes = {part: [] for part in LOOK}
        for y, (total, config) in enumerate(zip(self.totals, (tied, own), strict=True)):
            left = 0.0
            for part, count in config.params_by_part.items():
                width = count / own.n_params
                boxes[part].append((left, y - 0.31, width, 0.62))
                left += width
            total.set(x=left + 0.01, text=short(config.n_params))
        for part, patch in self.parts.items():
            patch.put(boxes[part])
            self.numbers[part].set_text(short(own.params_by_part[part]))
        for (bars, number), (_, cost, written) in zip(self.costs, COSTS, strict=True):
            pair = cost(ModelConfig()), cost(own)
            for bar, value in zip(bars, pair, strict=True):
                bar.set_width(value / max(pair))
            number.set_text(written(pair[1]))

        parts = own.params_by_part
        vocabulary = parts["embedding"] + parts["head"]
        shares = [100 * n / own.n_params for n in (vocabulary, parts["attention"], parts["feed_forward"])]
        return (
            f"{preset}, vocabulary {vocab_size:,}, kv heads {n_kv_heads}: {own.n_params:,} parameters, "
            f"{tied.n_params:,} tied. Of the {own.n_params:,}, embedding and head hold {shares[0]:.0f} %, attention "
            f"{shares[1]:.0f} %, feed-forward {shares[2]:.0f} %. One token costs {own.flops_per_token / 1e6:.1f} "
            f"million operations and {own.kv_cache_bytes_per_token:,} bytes of cache; {STEPS:,} steps of {BATCH} × "
            f"{CONTEXT} tokens take about {training_seconds(own) / 60:.0f} minutes on one thread."
        )


def budget() -> Panel:
    """The panel: one of three sizes, the vocabulary, and the number of key/value heads."""
    return Panel(
        Budget(),
        width=9.5,
        height=3.2,
        name="budget",
        preset=Choice("small", list(PRESETS), label="size"),
        vocab_size=Choice(8192, {f"{size:,}": size for size in VOCABULARIES}, label="vocabulary"),
        n_kv_heads=Choice(4, {str(k): k for k in (1, 2, 4, 8)}, label="kv heads"),
    )
