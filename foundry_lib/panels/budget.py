"""The budget of lesson 05: where a model's parameters sit, and what a token and a training cost."""

from matplotlib.figure import Figure

from .. import plots
from ..config import PRESETS, ModelConfig
from .panel import Choice, Panel

# part → (colour, hatch); the hatch says the same thing a second time
LOOK = {
    "embedding": (plots.BLUE, ""),
    "attention": (plots.ORANGE, "///"),
    "feed_forward": (plots.GREEN, "..."),
    "norms": (plots.RED, ""),
    "head": (plots.SKY, "xxx"),
}
NAMES = {"feed_forward": "feed-forward", "norms": "norms (too thin to see)"}
STEPS, BATCH, CONTEXT = 1600, 8, 200  # a training as the tales' recipe has it
SPEED = 45e9  # operations a second: what those trainings reached on one thread (benchmarks/tales_runs.jsonl)
VOCABULARIES = [512, 1536, 4096, 8192, 32768]


def training_seconds(config: ModelConfig) -> float:
    """An estimate: three forward passes' work for every token of the training, at SPEED."""
    return 3 * config.flops_per_token * STEPS * BATCH * CONTEXT / SPEED


def short(number: float) -> str:
    """7145728 → "7.15 M"."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def draw_parts(ax, configs: dict[str, ModelConfig]):
    """A stacked bar for each configuration; a number on every part wide enough to hold it."""
    widest = max(config.n_params for config in configs.values())
    for row, config in enumerate(configs.values()):
        left = 0
        for part, count in config.params_by_part.items():
            colour, hatch = LOOK[part]
            ax.barh(row, count, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.62,
                    label=NAMES.get(part, part) if row == 0 else None)  # fmt: skip
            if count > 0.07 * widest:
                box = dict(boxstyle="round,pad=0.15", facecolor="white", edgecolor="none", alpha=0.9)
                ax.text(left + count / 2, row, short(count), ha="center", va="center", fontsize=8, bbox=box)
            left += count
        ax.text(left + 0.01 * widest, row, short(left), va="center", fontsize=9)
    ax.set_yticks(range(len(configs)), configs)
    ax.set(xlim=(0, 1.12 * widest), ylim=(-0.5, 2.15), xlabel="parameters")
    ax.xaxis.set_major_formatter(lambda value, _: short(value) if value else "0")
    ax.grid(visible=False, axis="y")
    ax.set_axisbelow(True)
    ax.legend(fontsize=8, ncols=5, loc="upper left", columnspacing=1.0, handlelength=1.4)


def draw_costs(axes, config: ModelConfig):
    """Three costs, each beside that of the guide's model as it is."""
    guide = ModelConfig()
    for ax, title, cost, written in (
        (axes[0], "operations for one token", lambda c: c.flops_per_token, short),
        (axes[1], "KV cache, bytes a token", lambda c: c.kv_cache_bytes_per_token, "{:,}".format),
        (axes[2], "training, estimated minutes", lambda c: training_seconds(c) / 60, "{:.0f}".format),
    ):
        values = [cost(guide), cost(config)]
        ax.barh([0, 1], values, color=[plots.GREY, plots.BLUE], hatch=["///", ""], edgecolor="white")
        for row, value in enumerate(values):
            ax.text(value + 0.03 * max(values), row, written(value), va="center", fontsize=8)
        ax.set(xlim=(0, 1.45 * max(values)), xticks=[], yticks=[0, 1], yticklabels=["the guide's", "this one"])
        ax.set_title(title, fontsize=9)
        ax.tick_params(axis="y", labelsize=8)
        ax.grid(visible=False)


def draw(figure: Figure, preset: str = "small", vocab_size: int = 8192, n_kv_heads: int = 4) -> str:
    """Left: parameters by part, head tied and not. Right: what a token and a training cost."""
    own, tied = (
        ModelConfig.preset(preset, vocab_size=vocab_size, n_kv_heads=n_kv_heads, tie_embeddings=tie)
        for tie in (False, True)
    )
    grid = figure.add_gridspec(3, 2, width_ratios=[2.3, 1])
    draw_parts(figure.add_subplot(grid[:, 0]), {"tied": tied, "own head": own})
    draw_costs([figure.add_subplot(grid[row, 1]) for row in range(3)], own)
    parts = own.params_by_part
    vocabulary = parts["embedding"] + parts["head"]
    shares = [100 * n / own.n_params for n in (vocabulary, parts["attention"], parts["feed_forward"])]
    return (
        f"{preset}, vocabulary {vocab_size:,}, kv heads {n_kv_heads}: {own.n_params:,} parameters, "
        f"{tied.n_params:,} tied. Of the {own.n_params:,}, embedding and head hold {shares[0]:.0f} %, attention "
        f"{shares[1]:.0f} %, feed-forward {shares[2]:.0f} %. One token costs {own.flops_per_token / 1e6:.1f} million "
        f"operations and {own.kv_cache_bytes_per_token:,} bytes of cache; {STEPS:,} steps of {BATCH} × {CONTEXT} "
        f"tokens take about {training_seconds(own) / 60:.0f} minutes on one thread."
    )


def budget() -> Panel:
    """The panel: one of the guide's three sizes, the vocabulary, and the number of key/value heads."""
    return Panel(
        draw,
        width=10,
        height=3.5,
        name="budget",
        preset=Choice("small", list(PRESETS), label="size"),
        vocab_size=Choice(8192, {f"{size:,}": size for size in VOCABULARIES}, label="vocabulary"),
        n_kv_heads=Choice(4, {str(k): k for k in (1, 2, 4, 8)}, label="kv heads"),
    )
