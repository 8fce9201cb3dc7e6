"""Arrays → matplotlib Axes. Nothing here knows a model. Importing it sets the course's style.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; a line style or a hatch always says the same
thing a second time. A Chinese font is put behind the Latin one, so that a glyph missing in the first is drawn from it.
"""

import warnings
from importlib.metadata import PackageNotFoundError, files

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
)
GREY = "#777777"
SYSTEM_CJK_FONTS = ("Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "WenQuanYi Micro Hei")


def cjk_fonts() -> list[str]:
    """Names of the fonts with Chinese characters that matplotlib can use here, the course's own first."""
    try:
        for file in files("pylopdf-fonts-zh-cn") or []:
            if file.name.startswith("NotoSansSC-Regular"):
                font_manager.fontManager.addfont(str(file.locate()))
    except (PackageNotFoundError, OSError):
        pass  # the fonts of the system may do; lesson 00 reports it when there is none
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in ("Noto Sans SC", *SYSTEM_CJK_FONTS) if name in installed]


def use_course_style():
    """Set fonts, colours and sizes for every figure that follows."""
    matplotlib.rcParams.update(
        {
            # font.family, not font.sans-serif: only this list falls back glyph by glyph. A name that is not installed
            # would print a warning at every draw, so only installed ones are listed.
            "font.family": ["DejaVu Sans", *cjk_fonts()],
            "axes.prop_cycle": matplotlib.cycler(color=[BLUE, ORANGE, GREEN, RED, SKY, PINK]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "figure.figsize": (7, 3),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "legend.frameon": False,
        }
    )


use_course_style()


def glyphs_missing(text: str) -> list[str]:
    """The characters of `text` that no font in use can draw; they would appear as boxes."""
    missing = []
    for character in dict.fromkeys(text):
        figure = Figure(figsize=(1, 1))
        figure.text(0, 0, character)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            FigureCanvasAgg(figure).draw()
        if any("missing" in str(warning.message) for warning in caught):
            missing.append(character)
    return missing


LINE_STYLES = {"ln V": ":", "unigram": "-.", "bigram": "--", "forgets": (0, (5, 1)), "floor": "-"}


def draw_losses(ax: Axes, steps, train, val_steps, val, lines: dict[str, float], total: int | None = None):
    """The curve of a training: loss of every batch (faint), its running mean, the validation loss, and the known lines.

    steps, train, val_steps, val: sequences; losses in nats a token. lines: name → nats, drawn across and named at
    the right edge. total: where the time axis ends. Where a floor is known the axis is logarithmic, because what
    happens just above the floor is what counts.
    """
    ax.clear()
    steps, train = np.asarray(steps, dtype=float), np.asarray(train, dtype=float)
    if len(train):
        ax.plot(steps, train, color=SKY, alpha=0.35, lw=0.8)
        ax.plot(steps, running_mean(train), color=BLUE, lw=1.6, label="training, mean of 20 steps")
    if len(val):
        ax.plot(val_steps, val, color=RED, marker="o", ms=4, lw=1.6, label="validation")
    right = total or (steps[-1] if len(steps) else 1)
    for name, nats in lines.items():
        style = next((s for start, s in LINE_STYLES.items() if name.startswith(start)), (0, (1, 3)))
        ax.axhline(nats, color=GREY, ls=style, lw=1)
        ax.annotate(
            f"{name} {nats:.2f}",
            (right, nats),
            xytext=(0, -3 if name == "floor" else 2),
            textcoords="offset points",
            color="#444444",
            fontsize=8,
            ha="right",
            va="top" if name == "floor" else "bottom",
        )
    ax.set(xlim=(0, right), xlabel="step", ylabel="loss (nats per token)")
    if "floor" in lines:
        ax.set_yscale("log")
        ax.set(ylim=(0.75 * lines["floor"], 1.3 * lines["ln V"]), ylabel="loss (nats per token, log scale)")
        ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10) if 0.75 * lines["floor"] < tick < 1.3 * lines["ln V"]]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    if len(train) or len(val):
        place = {"loc": "center", "bbox_to_anchor": (0.5, 0.43)} if "floor" in lines else {"loc": "lower left"}
        ax.legend(fontsize=8, **place)


def draw_owed(ax: Axes, owed: dict[str, float], forgetful: dict[str, float]):
    """What a model still owes, rule by rule: a bar each, in nats above the floor for each word that the rule fixes.

    owed: rule → nats. forgetful: rule → what one who forgets the story owes, drawn as a mark, the largest on top.
    """
    ax.clear()
    rules = sorted(owed, key=lambda rule: forgetful[rule])
    y, right = np.arange(len(rules)), 1.25 * max(forgetful.values())
    heights = [max(0.0, owed[rule]) for rule in rules]
    ax.barh(y, heights, color=BLUE, label="still owed")
    ax.plot([forgetful[rule] for rule in rules], y, "|", color=RED, ms=12, mew=2, label="forgets the story")
    for place, height in zip(y, heights, strict=True):
        if height > right:  # at the very start a model owes more than anyone who knows the grammar
            ax.text(0.98 * right, place, f"{height:.0f} →", color="white", fontsize=7, ha="right", va="center")
    ax.set_yticks(y, rules, fontsize=8)
    ax.set(xlim=(0, right), ylim=(-0.6, len(rules) - 0.4), xlabel="nats above the floor, per word")
    ax.grid(visible=False, axis="y")
    # below the axis and its words (in sizes of the font): a mark among the rules' own would read as one rule more
    ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=5, ncols=2)


def draw_quality(figure: Figure, curves: dict):
    """One panel for each knob: the share of valid and of distinct tales at each of its values (`quality.curves`)."""
    figure.clear()
    for ax, (knob, points) in zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        x = np.arange(len(points))
        found = list(points.values())
        valid = np.array([q.valid / q.n for q in found])
        ends = np.array([q.interval for q in found]).T  # (2, points)
        to_ends = np.maximum(0, [valid - ends[0], ends[1] - valid])  # rounding alone may make one negative
        ax.errorbar(x, valid, to_ends, color=BLUE, marker="o", label="valid")
        ax.plot(x, [q.distinct / q.n for q in found], color=ORANGE, ls="--", marker="s", ms=4, label="distinct")
        if all(q.copied is not None for q in found):
            ax.plot(x, [q.copied / q.n for q in found], color=RED, ls=":", marker="^", ms=4, label="copied")
        ax.set_xticks(x, [f"{value:g}" for value in points], rotation=60)
        ax.set(xlabel=knob, ylim=(-0.03, 1.05))
    figure.axes[0].set_ylabel("share of the tales")
    figure.axes[0].legend(fontsize=8)


def running_mean(values, width: int = 20) -> np.ndarray:
    """Mean of each value and up to width − 1 values before it."""
    sums = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    index = np.arange(1, len(sums))
    start = np.maximum(0, index - width)
    return (sums[index] - sums[start]) / (index - start)


def visible(piece: str) -> str:
    """A piece of text as a label: spaces and line ends drawn as signs, so that " the" and "the" differ."""
    return piece.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "∅"


REMOVED = dict(facecolor="#dddddd", edgecolor=GREY, hatch="///", lw=0.5, label="removed")


def draw_distribution(ax: Axes, labels: list[str], probs, kept=None, outline=None):
    """Bars of the next token's probabilities; removed tokens are grey and hatched, at their height before the filters.

    labels, probs: the n tokens that are shown. kept: a boolean for each; None means all. outline: the probabilities
    before the filters, drawn as a line.
    """
    ax.clear()
    x = np.arange(len(labels))
    kept = np.ones(len(labels), dtype=bool) if kept is None else np.asarray(kept)
    if outline is not None and not kept.all():  # the legend shows an empty series with a wrong sign
        ax.bar(x[~kept], np.asarray(outline)[~kept], **REMOVED)
    ax.bar(x[kept], np.asarray(probs)[kept], color=BLUE, label="kept")
    if outline is not None:
        edges, heights = np.append(x - 0.5, len(labels) - 0.5), np.append(outline, outline[-1])
        ax.step(edges, heights, where="post", color=ORANGE, lw=1.2, label="before")
        ax.legend(loc="upper right", fontsize=8)
    ax.set_xticks(x, [label.replace("$", r"\$") for label in labels], rotation=60, ha="right", fontsize=8)
    ax.set(ylabel="probability", xlim=(-0.6, len(labels) - 0.4))
    ax.grid(visible=False, axis="x")


def letters(piece: str) -> float:
    """How wide a piece of text is drawn, in Latin letters; a Chinese character takes about two."""
    return sum(1.9 if ord(character) > 0x2E7F else 1.0 for character in visible(piece))


def ink_on(colour) -> str:
    """Black or white, whichever can be read better on a colour (r, g, b, …), by the contrast rule of WCAG."""
    rgb = np.asarray(colour[:3])
    light = np.where(rgb <= 0.04, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    return "black" if light > 0.179 else "white"


def draw_strip(figure: Figure, pieces: list[str], nats, grammar=None):
    """A text as a strip of its tokens, brighter where they surprise; it wraps, and the figure gets the height it needs.

    nats: the surprise of each. grammar: what each costs one who knows the grammar; ∞ is forbidden, None unknown.
    A token that costs the model or the grammar 1 nat or more carries the model's number; the most surprising one has a
    frame, and behind its number in brackets what the grammar pays.
    """
    figure.clear()
    nats, (width, _) = np.asarray(nats, dtype=float), figure.get_size_inches()
    norm = Normalize(0, max(4.0, float(np.ceil(nats.max()))))
    colours = matplotlib.colormaps["cividis"](norm(nats))
    per_line, x, line, places = 11.5 * width, 0.0, 0, []  # at 8 points a letter takes about 1/11.5 inch
    for piece in pieces:
        wide = max(letters(piece) + 0.6, 3.6)
        if x and x + wide > per_line:
            x, line = 0.0, line + 1
        places.append((x, -line, wide))
        x += wide
    figure.set_size_inches(width, 0.42 * (line + 1) + 0.75)
    ax = figure.subplots()
    for index, (x, y, wide) in enumerate(places):
        first = index == nats.argmax()
        frame = dict(edgecolor=RED, lw=2.5, zorder=3) if first else dict(edgecolor="white", lw=0.8)
        ax.barh(y, wide, 0.94, x, align="center", color=colours[index], **frame)
        known = grammar is not None and grammar[index] is not None
        numbered = nats[index] >= 1 or (known and grammar[index] >= 1)
        middle = dict(ha="center", va="center", color=ink_on(colours[index]), zorder=4, parse_math=False)
        ax.text(x + wide / 2, y + 0.16 * numbered, visible(pieces[index]), fontsize=8, **middle)
        if numbered:
            beside = "" if not known else " (∞)" if np.isinf(grammar[index]) else f" ({grammar[index]:.1f})"
            ax.text(x + wide / 2, y - 0.26, f"{nats[index]:.1f}{beside if first else ''}", fontsize=6.5, **middle)
    ax.set(xlim=(-0.3, per_line + 0.3), ylim=(-line - 0.6, 0.6))
    ax.axis("off")
    scale = ScalarMappable(norm, "cividis")
    bar = figure.colorbar(scale, ax=ax, orientation="horizontal", fraction=0.12, aspect=60, pad=0.02)
    beside = "" if grammar is None else ", in brackets what the grammar pays"
    bar.set_label(f"surprise (nats); red frame: the largest{beside}", fontsize=8)


HATCHES = ("", "///", "...", "xxx")


def draw_rows(ax: Axes, rows: dict[str, dict[str, float]], rules: list[str]):
    """Bars side by side for each rule, one for each row of a table; a hatch tells the rows apart without colour.

    rows: row → rule → nats a word above the floor.
    """
    ax.clear()
    width = 0.8 / len(rows)
    for i, (row, values) in enumerate(rows.items()):
        x = np.arange(len(rules)) - 0.4 + (i + 0.5) * width
        colour = (BLUE, ORANGE, GREEN, PINK)[i % 4]
        heights = [max(0.0, values[rule]) for rule in rules]
        ax.bar(x, heights, 0.92 * width, color=colour, hatch=HATCHES[i % 4], edgecolor="white", label=row)
    ax.set_xticks(np.arange(len(rules)), rules)
    ax.set(ylabel="nats a word above the floor")
    ax.grid(visible=False, axis="x")
    ax.legend(fontsize=8)


def draw_runs(ax: Axes, rows: dict[str, list[tuple]], xlabel: str, ylabel: str):
    """Curves of several trainings: a thin line for each seed, a band between the lowest and the highest, a thick line
    for their mean; a colour and a line style for each row.

    rows: row → for each seed x and y, two sequences. Mean and band reach as far as the shortest of the seeds.
    """
    ax.clear()
    for i, (row, seeds) in enumerate(rows.items()):
        colour, style = (BLUE, ORANGE, GREEN, RED, SKY, PINK)[i % 6], ("-", "--", "-.", ":")[i % 4]
        for x, y in seeds:
            ax.plot(x, y, color=colour, ls=style, lw=0.7, alpha=0.6)
        x = np.linspace(max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds), 200)
        found = np.array([np.interp(x, *seed) for seed in seeds])
        if len(seeds) > 1:
            ax.fill_between(x, found.min(0), found.max(0), color=colour, alpha=0.2, lw=0)
        ax.plot(x, found.mean(0), color=colour, ls=style, lw=2.2, label=row)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if rows:
        ax.legend(fontsize=8)


def draw_costs(ax: Axes, words: list[str], best, forgetful):
    """What each word costs two readers, in nats: bars for one who remembers, an outline for one who forgets."""
    ax.clear()
    x = np.arange(len(words))
    ax.bar(x, forgetful, 0.8, color="none", edgecolor=ORANGE, hatch="///", lw=1.2, label="forgets the story")
    ax.bar(x, best, 0.5, color=BLUE, label="best possible reader")
    ax.set_xticks(x, words, rotation=40, ha="right")
    ax.set(ylabel="cost (nats)", ylim=(0, 1.2 * max(*best, *forgetful)))
    ax.grid(visible=False, axis="x")
    ax.legend(fontsize=8, ncols=2, loc="upper right")


def draw_weights(ax: Axes, weights, labels: list[str], size: float = 8):
    """Attention of one head: a row for each token that looks, a column for each that is looked at; the future is white.

    weights: (T, T), each row shares out 1 from left to right up to its own place. With at most 12 tokens each cell
    has its number. labels may be empty; size is theirs, in points.
    """
    ax.clear()
    n = len(weights)
    # a mesh is drawn five times as fast as an image, and a number as the shape of a marker fifty times as fast as text
    ax.pcolormesh(np.arange(n + 1) - 0.5, np.arange(n + 1) - 0.5, np.zeros((n, n)), cmap="cividis", vmin=0, vmax=1)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
    if n <= 12:
        for tenths in range(11):
            number = f"${tenths / 10:.1f}$"
            ax.plot([], [], marker=number, ms=1.5 * size, mew=0, ls="", color="black" if tenths > 5 else "white")
    move_weights(ax, weights)
    labels = [label.replace("$", r"\$") for label in labels]
    ax.set_xticks(np.arange(n) if labels else [], labels or [], rotation=90, fontsize=size)
    ax.set_yticks(np.arange(n) if labels else [], labels or [], fontsize=size)
    ax.grid(visible=False)


def move_weights(ax: Axes, weights):
    """Other weights (T, T) in a picture of `draw_weights`: its colours and, where there are any, its numbers."""
    weights = np.asarray(weights, dtype=float)
    past = np.tri(len(weights), dtype=bool)
    ax.collections[0].set_array(np.ma.masked_where(~past, weights))
    for tenths, numbers in enumerate(ax.lines):
        rows, columns = np.nonzero(past & ((10 * weights).round() == tenths))
        numbers.set_data(columns, rows)


def draw_looking(ax: Axes, points: list[tuple[float, float, str, int]], ringed: list[tuple] = ()):
    """Looking against use: a dot for each head at each rule, with the rule's name where dots stand free.

    points: (weight on the word to be said, nats lost when the head is silent, rule, layer). ringed: (weight, nats,
    rule) of points that the text speaks of; they get a ring and always a name.
    """
    ax.clear()
    for layer in sorted({point[3] for point in points}):
        x, y = zip(*(point[:2] for point in points if point[3] == layer), strict=True)
        ax.plot(x, y, "so^D"[layer % 4], color=(ORANGE, BLUE, GREEN, PINK)[layer % 4], label=f"layer {layer}")
    named = []
    for weight, cost, rule in ringed:
        ax.plot(weight, cost, "o", ms=13, mfc="none", mec="black")
        ax.annotate(rule, (weight, cost), xytext=(11, 0), textcoords="offset points", fontsize=10, va="center")
        named.append((weight, cost))
    for weight, cost, rule, _ in sorted(points, key=lambda point: -point[1]):
        free = all(abs(weight - x) > 0.12 or abs(cost - y) > 0.15 for x, y in named)
        if free and (weight > 0.3 or cost > 0.8):
            ax.annotate(rule, (weight, cost), xytext=(6, 4), textcoords="offset points", fontsize=8)
            named.append((weight, cost))
    ax.set(xlabel="weight on the word to be said", ylabel="nats lost when silent", xlim=(-0.03, 1.1))
    ax.legend(fontsize=8, loc="upper center")
